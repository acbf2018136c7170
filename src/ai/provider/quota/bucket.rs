//! A token bucket whose rate may change and that accepts refunds.

use crate::limit::{clock::TIMER_LATENESS, nanos};

/// Stores the level as units times the nanoseconds of the period, so that a change of the rate
/// rounds nothing.
///
/// A negative level compensates the queue for a late timer.
#[derive(Debug, Clone)]
pub(super) struct RefundableBucket {
    debt: i128,
    at: u64,
    /// When it was last empty. Units taken before then have drained.
    empty_at: u64,
    period: u64,
}

// ===== impl RefundableBucket =====

impl RefundableBucket {
    pub(super) fn new(period: u64, now: u64) -> Self {
        Self {
            debt: 0,
            at: now,
            empty_at: now,
            period,
        }
    }

    /// Drains the bucket until `now` at `rate` units per period.
    ///
    /// No more than two periods take to drain, so that no request waits longer: more may have been
    /// used than was reserved, a request may be larger than a learned limit, and a limit lower than
    /// before.
    #[inline]
    pub(super) fn advance(&mut self, now: u64, rate: u64) {
        let elapsed = i128::from(now.saturating_sub(self.at));
        let (rate, lateness) = (i128::from(rate), i128::from(nanos(TIMER_LATENESS)));
        let debt = self.debt.min(2 * rate * i128::from(self.period));
        self.debt = (debt - elapsed * rate).max(-lateness * rate);
        self.at = self.at.max(now);
        if self.debt <= 0 {
            self.empty_at = self.at;
        }
    }

    /// Returns the units taken now, rounded up.
    #[inline]
    pub(super) fn used(&self) -> u64 {
        let (debt, period) = (self.debt.max(0) as u128, self.period);
        // Nearly always: a division of 128 bits takes much longer.
        match u64::try_from(debt) {
            Ok(debt) => debt.div_ceil(period),
            Err(_) => u64::try_from(debt.div_ceil(period.into())).unwrap_or(u64::MAX),
        }
    }

    /// Returns the nanoseconds at `rate` until `units` more fit into `capacity`.
    #[inline]
    pub(super) fn due(&self, units: u64, capacity: u64, rate: u64, in_turn: bool) -> u64 {
        let over = self.base(in_turn) + self.scaled(units) - self.scaled(capacity);
        match (over, i128::from(rate)) {
            (..=0, _) => 0,
            (_, 0) => u64::MAX,
            (over, rate) => u64::try_from((over + rate - 1) / rate).unwrap_or(u64::MAX),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, units: u64, in_turn: bool) {
        self.debt = self.base(in_turn) + self.scaled(units);
    }

    /// Replaces the level by `units`, which drain at `rate` since `at`.
    pub(super) fn replace(&mut self, units: u64, at: u64, now: u64, rate: u64) {
        let drained = i128::from(now.saturating_sub(at)) * i128::from(rate);
        // If it was empty since `at`, what is left was taken later.
        let least = if at < self.empty_at { self.debt } else { 0 };
        self.debt = (self.scaled(units) - drained).max(least).max(0);
    }

    /// Returns units that were taken at `at`, if they have not drained since, and their number.
    #[inline]
    pub(super) fn give_back(&mut self, at: u64, units: u64) -> u64 {
        if at < self.empty_at {
            return 0;
        }
        self.debt = self.debt.min((self.debt - self.scaled(units)).max(0));
        units
    }

    #[inline]
    fn base(&self, in_turn: bool) -> i128 {
        if in_turn { self.debt } else { self.debt.max(0) }
    }

    #[inline]
    fn scaled(&self, units: u64) -> i128 {
        i128::from(units) * i128::from(self.period)
    }
}
