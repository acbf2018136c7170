//! The share of a limit that is ours where somebody else uses the same key.

/// A whole, as a share of itself.
const WHOLE: u64 = 1 << 20;

/// Of what is left we take this part at least, or one who has just come would get nothing.
const LEAST_SHARE: u64 = 8;

/// How many periods it takes to get back from nothing to all of the limit.
const RECOVERY_PERIODS: u64 = 2;

/// A share that shrinks at once when somebody else shows up, and grows back with time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    share: u64,
    at: u64,
    period: u64,
}

// ===== impl Share =====

impl Share {
    pub(super) fn new(period: u64) -> Self {
        Self {
            share: WHOLE,
            at: 0,
            period: period.max(1),
        }
    }

    /// Our part of `limit` now, at least 1.
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

    /// Learns that of `limit` so much is used, of which `ours` is the most that can be ours.
    ///
    /// Of what is left each takes the share that it has of what was used, so that several who watch one limit agree
    /// without a word.
    pub(super) fn observe(&mut self, limit: u64, used: u64, ours: u64, now: u64) {
        if ours >= used || limit == 0 {
            return;
        }
        let left = u128::from(limit.saturating_sub(used));
        let fair = (left * u128::from(ours) / u128::from(used)).max(left / u128::from(LEAST_SHARE));
        let share = (u128::from(ours) + fair) * u128::from(WHOLE) / u128::from(limit);
        let share = (share as u64).min(WHOLE);
        if share < self.now(now) {
            (self.share, self.at) = (share, now);
        }
    }

    fn now(&self, now: u64) -> u64 {
        let elapsed = u128::from(now.saturating_sub(self.at));
        let span = u128::from(self.period) * u128::from(RECOVERY_PERIODS);
        let grown = elapsed * u128::from(WHOLE) / span;
        u64::try_from(grown)
            .unwrap_or(WHOLE)
            .saturating_add(self.share)
            .min(WHOLE)
    }
}
