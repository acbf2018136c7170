//! Learns a limit from responses.

use super::{MOST, Meter, Tally};
use crate::ai::provider::quota::tide::TideLevel;

/// A reported limit below 1/`DOUBTFUL` of the current one is applied when it is reported twice.
const DOUBTFUL: u64 = 8;

impl Meter {
    /// Counts what the provider reports as used when the limit is found.
    pub(in crate::ai::provider::quota) fn found_used(&mut self, used: u64, now: u64) {
        self.memory.take(used.min(self.limit), now, false);
    }

    /// Changes the limit.
    pub(in crate::ai::provider::quota) fn set_limit(&mut self, limit: u64) {
        let limit = limit.min(MOST);
        // A learned limit admits larger requests. Otherwise a limit that is too low would exclude
        // the requests whose responses correct it, and a queued one would wait forever.
        self.is_learned |= limit != self.limit;
        self.limit = limit;
        self.doubted = None;
    }

    /// Returns the mark of a request that was just admitted, for [`hear`](Self::hear).
    ///
    /// For a window, what is used, minus all that was ever taken: added to what was ever taken by
    /// then, it is the most that the provider can have counted for this client. For a bucket, all
    /// that was ever admitted.
    pub(in crate::ai::provider::quota) fn mark(&self) -> u64 {
        match &self.memory {
            Tally::RefundableWindow(..) => self.used().wrapping_sub(self.total),
            Tally::RefundableBucket(..) => self.total.wrapping_sub(self.returned),
        }
    }

    /// Applies the reported limit and remainder from the response to a request sent at `sent` with
    /// `mark`.
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
        // Some providers round what remains, and clocks differ.
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
                        // Continue at the rate of this client's share.
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
