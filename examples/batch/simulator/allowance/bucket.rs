//! A limit that comes back evenly.

use std::time::Duration;

use tokio::time::Instant;

use super::{Allowance, Left, Room, Taken};

/// A bucket that is full at the start.
///
/// All is counted in the smallest parts that occur: a unit is as many as the window has
/// nanoseconds, so that in each of them as many parts come back as the limit has units. Nothing is
/// ever rounded.
#[derive(Debug)]
pub(crate) struct Bucket {
    limit: u64,
    /// The length of the window in nanoseconds, which is the number of parts of a unit.
    nanos: u64,
    /// How many parts are missing. More than the bucket holds where more was taken than there was.
    missing: u128,
    /// When that was so.
    at: Option<Instant>,
}

// ===== impl Bucket =====

impl Bucket {
    pub(super) fn new(limit: u64, window: Duration) -> Self {
        Self {
            limit,
            nanos: u64::try_from(window.as_nanos()).unwrap_or(u64::MAX).max(1),
            missing: 0,
            at: None,
        }
    }

    fn refill(&mut self, now: Instant) {
        let since = now.saturating_duration_since(*self.at.get_or_insert(now));
        self.at = Some(now);
        let back = since.as_nanos().saturating_mul(u128::from(self.limit));
        self.missing = self.missing.saturating_sub(back);
    }

    /// How long so many parts take, or `None` if they never come.
    fn refilled_in(&self, parts: u128) -> Option<Duration> {
        if parts == 0 {
            return Some(Duration::ZERO);
        }
        let nanos = (self.limit > 0).then(|| parts.div_ceil(u128::from(self.limit)))?;
        let nanos = u64::try_from(nanos).unwrap_or(u64::MAX);
        Some(Duration::from_nanos(nanos))
    }

    fn parts(&self, units: u64) -> u128 {
        // Two 64-bit numbers fit.
        u128::from(units) * u128::from(self.nanos)
    }
}

impl Allowance for Bucket {
    fn room(&mut self, now: Instant, units: u64) -> Room {
        self.refill(now);
        if units > self.limit {
            return Room::Never;
        }
        let over = self
            .missing
            .saturating_add(self.parts(units))
            .saturating_sub(self.parts(self.limit));
        if over == 0 {
            return Room::Now;
        }
        // A bucket of nothing is never refilled.
        self.refilled_in(over).map_or(Room::Never, Room::In)
    }

    fn take(&mut self, now: Instant, units: u64) -> Taken {
        self.refill(now);
        self.missing = self.missing.saturating_add(self.parts(units));
        Taken { number: 0, units }
    }

    /// Takes the difference, or puts it back: a bucket that is full meanwhile runs over.
    fn settle(&mut self, now: Instant, taken: &Taken, units: u64) {
        self.refill(now);
        let (before, after) = (self.parts(taken.units), self.parts(units));
        self.missing = self.missing.saturating_add(after).saturating_sub(before);
    }

    fn left(&mut self, now: Instant) -> Left {
        self.refill(now);
        let remaining = self.parts(self.limit).saturating_sub(self.missing);
        Left {
            limit: self.limit,
            // At most the limit.
            remaining: u64::try_from(remaining / u128::from(self.nanos)).unwrap_or(self.limit),
            reset: self.refilled_in(self.missing).unwrap_or(Duration::MAX),
        }
    }

    /// What is in the bucket stays in it, as far as it has room. One that grows is not fuller for
    /// it.
    fn set_limit(&mut self, now: Instant, limit: u64) {
        self.refill(now);
        let before = self.parts(self.limit);
        self.limit = limit;
        let after = self.parts(limit);
        self.missing = self.missing.saturating_add(after).saturating_sub(before);
    }
}
