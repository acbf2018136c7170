//! The share of a limit that this client may use if other clients share the key.

use super::tide::Inflow;

/// A share of 100%.
const WHOLE: u64 = 1 << 20;

/// The smallest share of the remainder is 1/`LEAST_SHARE`, so that a new client gets some.
const LEAST_SHARE: u64 = 8;

/// Each client takes 1/`ALIKE` of a bucket in any case, which equalizes the shares over time.
const ALIKE: u64 = 32;

/// The number of periods in which the share recovers from nothing to all.
const RECOVERY_PERIODS: u64 = 2;

/// A share that shrinks at once if other clients appear, and recovers over time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    share: u64,
    at: u64,
    /// The share that it recovers to, if no newer report arrives.
    target: u64,
    period: u64,
}

// ===== impl Share =====

impl Share {
    pub(super) fn new(period: u64) -> Self {
        Self {
            share: WHOLE,
            at: 0,
            target: WHOLE,
            period: period.max(1),
        }
    }

    /// Returns `true` if no other client is known.
    #[inline]
    pub(super) fn is_replayable(&self) -> bool {
        self.share == WHOLE
    }

    /// Returns this client's part of `limit`, at least 1.
    #[inline]
    pub(super) fn of(&self, limit: u64, now: u64) -> u64 {
        if self.share == WHOLE {
            return limit;
        }
        self.part_of(limit, now)
    }

    #[cold]
    fn part_of(&self, limit: u64, now: u64) -> u64 {
        let share = u128::from(limit) * u128::from(self.now(now));
        let share = share.div_ceil(u128::from(WHOLE));
        (share as u64).max(1).min(limit)
    }

    /// Learns that `used` of `limit` is used, of which at most `ours` is this client's.
    ///
    /// Each client takes the same share of the remainder that it had of the usage, so that several
    /// clients agree without coordination.
    pub(super) fn observe(&mut self, limit: u64, used: u64, ours: u64, now: u64) {
        let left = u128::from(limit.saturating_sub(used));
        let (ours, used) = (u128::from(ours.min(used)), u128::from(used.max(1)));
        let fair = (left * ours / used).max(left / u128::from(LEAST_SHARE));
        self.aim(
            (ours + fair) * u128::from(WHOLE) / u128::from(limit.max(1)),
            now,
        );
    }

    /// Learns that `ours` of `all` units that came in lately were this client's, and that `used` of
    /// `limit` is used.
    ///
    /// Each client keeps its rate: a little faster if less than half is used, slower if more, plus
    /// a small part that is the same for all. So the bucket settles a little over half full, with
    /// equal rates.
    pub(super) fn observe_inflow(&mut self, inflow: &Inflow, limit: u64, used: u64, now: u64) {
        let (all, limit) = (u128::from(inflow.all.max(1)), u128::from(limit.max(1)));
        let used = u128::from(used).min(limit);
        let ours = u128::from(WHOLE) * u128::from(inflow.ours.min(inflow.all)) / all;
        let share = ours * (3 * limit - 2 * used) / (2 * limit);
        self.aim(share + u128::from(WHOLE / ALIKE), now);
    }

    /// Resets the share after a report without other clients.
    pub(super) fn all_is_ours(&mut self, now: u64) {
        self.aim(u128::from(WHOLE), now);
    }

    fn aim(&mut self, share: u128, now: u64) {
        let share = u64::try_from(share).unwrap_or(WHOLE).clamp(1, WHOLE);
        let current = self.now(now);
        (self.share, self.at, self.target) = (current.min(share), now, share);
    }

    fn now(&self, now: u64) -> u64 {
        let elapsed = u128::from(now.saturating_sub(self.at));
        let span = u128::from(self.period) * u128::from(RECOVERY_PERIODS);
        let grown = elapsed * u128::from(WHOLE) / span;
        let grown = u64::try_from(grown).unwrap_or(WHOLE);
        // No report for a whole period: the state is unknown.
        let target = if elapsed > u128::from(self.period) {
            WHOLE
        } else {
            self.target
        };
        self.share.saturating_add(grown).min(target.max(self.share))
    }
}
