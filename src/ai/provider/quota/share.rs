//! The share of a limit that is ours where somebody else uses the same key.

use super::tide::Inflow;

/// A whole, as a share of itself.
const WHOLE: u64 = 1 << 20;

/// Of what is left we take this part at least, or one who has just come would get nothing.
const LEAST_SHARE: u64 = 8;

/// Of a bucket each takes this part in any case, which makes them equal in the end.
const ALIKE: u64 = 32;

/// How many periods it takes to get back from nothing to all of the limit.
const RECOVERY_PERIODS: u64 = 2;

/// A share that shrinks at once when somebody else shows up, and grows back with time as far as is left.
#[derive(Debug, Clone, Copy)]
pub(super) struct Share {
    share: u64,
    at: u64,
    /// Where it grows to, as long as nothing newer is heard.
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

    /// Whether nobody else is to be seen.
    #[inline]
    pub(super) fn is_replayable(&self) -> bool {
        self.share == WHOLE
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
        let left = u128::from(limit.saturating_sub(used));
        let (ours, used) = (u128::from(ours.min(used)), u128::from(used.max(1)));
        let fair = (left * ours / used).max(left / u128::from(LEAST_SHARE));
        self.aim(
            (ours + fair) * u128::from(WHOLE) / u128::from(limit.max(1)),
            now,
        );
    }

    /// Learns that of all that came in lately, `ours` of `all` was ours, and that of `limit` so much is used.
    ///
    /// Each goes on as it did, a little faster while less than half is used and slower while it is more, and a little
    /// besides that is the same for all. So together they end at a bucket that is filled by a half and some more, and each
    /// with as much as the others.
    pub(super) fn observe_inflow(&mut self, inflow: &Inflow, limit: u64, used: u64, now: u64) {
        let (all, limit) = (u128::from(inflow.all.max(1)), u128::from(limit.max(1)));
        let used = u128::from(used).min(limit);
        let ours = u128::from(WHOLE) * u128::from(inflow.ours.min(inflow.all)) / all;
        let share = ours * (3 * limit - 2 * used) / (2 * limit);
        self.aim(share + u128::from(WHOLE / ALIKE), now);
    }

    /// Nobody else is to be seen.
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
        // Nothing was heard for a whole period: nobody knows any more.
        let target = if elapsed > u128::from(self.period) {
            WHOLE
        } else {
            self.target
        };
        self.share.saturating_add(grown).min(target.max(self.share))
    }
}
