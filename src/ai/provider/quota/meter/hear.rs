//! What a limit learns from answers.

use super::{MOST, Meter, Tally};
use crate::ai::provider::quota::tide::TideLevel;

/// A limit from which less than this part is left, all at once, is believed when it is told twice.
const DOUBTFUL: u64 = 8;

impl Meter {
    /// A provider that just found this limit says that so much of it is used.
    pub(in crate::ai::provider::quota) fn found_used(&mut self, used: u64, now: u64) {
        self.memory.take(used.min(self.limit), now, false);
    }

    /// Changes the limit, for good.
    pub(in crate::ai::provider::quota) fn set_limit(&mut self, limit: u64) {
        let limit = limit.min(MOST);
        // Found, or else one that is too low would keep out those whose answers put it right, and one that waits for ever.
        self.is_learned |= limit != self.limit;
        self.limit = limit;
        self.doubted = None;
    }

    /// What a request that has just been admitted remembers for when its answer is [heard](Self::hear).
    ///
    /// Of a window, what is used, without all that was ever taken: with what was ever taken by then, that is the most that
    /// the provider can have counted for us. Of a bucket, all that was ever let in.
    pub(in crate::ai::provider::quota) fn mark(&self) -> u64 {
        match &self.memory {
            Tally::RefundableWindow(..) => self.used().wrapping_sub(self.total),
            Tally::RefundableBucket(..) => self.total.wrapping_sub(self.returned),
        }
    }

    /// Hears what the answer to a request that was sent at `sent`, with this `mark`, says of the limit and what is left.
    pub(in crate::ai::provider::quota) fn hear(
        &mut self,
        sent: u64,
        limit: Option<u64>,
        left: Option<u64>,
        mark: u64,
        now: u64,
    ) {
        if sent < self.heard || sent < self.born {
            return;
        }
        self.heard = sent;
        if let Some(limit) = limit.filter(|limit| *limit > 0) {
            self.hear_limit(limit.min(MOST), sent);
        }
        let total = limit.unwrap_or(self.limit);
        if let Some(used) = left.and_then(|left| total.checked_sub(left)) {
            self.hear_used(total, used, mark, now);
        }
    }

    fn hear_used(&mut self, limit: u64, used: u64, mark: u64, now: u64) {
        // Some providers round what is left, and their clock is not ours.
        let slack = (limit / 64).max(2);
        match &mut self.memory {
            Tally::RefundableWindow(..) => {
                let ours = mark.wrapping_add(self.total);
                if used > ours.saturating_add(slack) {
                    self.share.observe(limit, used, ours, now);
                } else {
                    self.share.all_is_ours(now);
                }
            }
            Tally::RefundableBucket(bucket, tide) => {
                let reading = TideLevel {
                    sent: self.heard,
                    used,
                    ours: mark,
                };
                match tide.read(reading, limit, self.period) {
                    Some(inflow) if inflow.all > inflow.ours.saturating_add(slack) => {
                        self.share.observe_inflow(&inflow, limit, used, now);
                        // We go on at the rate of our share from here: what is used tells the rest.
                        bucket.bound(self.share.of(self.limit, now));
                    }
                    _ => self.share.all_is_ours(now),
                }
            }
        }
    }

    fn hear_limit(&mut self, limit: u64, sent: u64) {
        let is_plausible = limit > self.limit / DOUBTFUL;
        let is_told_twice = self
            .doubted
            .is_some_and(|(value, at)| value == limit && at < sent);
        if is_plausible || is_told_twice {
            self.set_limit(limit);
        } else {
            self.doubted = Some((limit, sent));
        }
    }
}
