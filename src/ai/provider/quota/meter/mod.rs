//! One limit of a provider.

mod hear;
mod memory;

use self::memory::Tally;
use super::share::Share;
use crate::{
    ai::{
        provider::{Accounting, Counting, Shape},
        tokens::Tokens,
    },
    http::Dimension,
    limit::{Decision, nanos},
};

/// The largest limit. Its sums and its products with the nanoseconds of a period fit their types.
pub(super) const MOST: u64 = (1 << 40) - 1;

/// One limit and the units taken from it.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) dimension: Dimension,
    counting: Counting,
    /// Includes the margin.
    pub(super) period: u64,
    memory: Tally,
    pub(super) limit: u64,
    /// A burst below the limit.
    burst: Option<u64>,
    /// Reserved for responses that have not ended, if they count only then.
    pub(super) reserved: u64,
    share: Share,
    /// Learned from headers. A request larger than this is not rejected here; the provider decides.
    is_learned: bool,
    /// All units ever reserved or used in addition; wrapping.
    total: u64,
    /// Units returned from `total` because the provider did not admit the request.
    returned: u64,
    /// When the meter was created.
    born: u64,
    /// A limit that was reported once and is too small to be applied at once.
    doubted: Option<(u64, u64)>,
    /// When the request whose response was applied last was sent.
    heard: u64,
}

/// How often per period a queued request checks whether the share has grown.
const LOOKS: u64 = 64;

// ===== impl Meter =====

impl Meter {
    pub(super) fn new(limit: &super::Spec, counting: Counting, is_learned: bool, now: u64) -> Self {
        let quota = limit.quota;
        // Half of the range, so that sums of periods and instants fit.
        let period = nanos(quota.period()).clamp(1, u64::MAX / 4);
        Self {
            dimension: limit.dimension,
            counting: match limit.dimension {
                Dimension::Requests | Dimension::Concurrency => Counting::Admission,
                _ => counting,
            },
            period,
            memory: Tally::new(limit.shape, period, now),
            limit: quota.units().min(MOST),
            burst: (limit.shape == Shape::Bucket && quota.burst_size() < quota.units())
                .then(|| quota.burst_size()),
            reserved: 0,
            share: Share::new(period),
            is_learned,
            total: 0,
            returned: 0,
            born: now,
            doubted: None,
            heard: 0,
        }
    }

    /// Returns this client's share of the limit.
    #[inline]
    pub(super) fn ours(&self, now: u64) -> u64 {
        self.share.of(self.limit, now)
    }

    #[inline]
    pub(super) fn advance(&mut self, now: u64) {
        let rate = self.share.of(self.limit, now);
        self.memory.advance(now, rate);
    }

    /// Returns the units that a request for `tokens` takes.
    #[inline]
    pub(super) fn cost(&self, tokens: Tokens) -> u64 {
        Accounting::reserved(self.dimension, tokens).min(MOST)
    }

    /// Returns `true` if `cost` never fits. A learned limit admits it once nothing else counts,
    /// since the provider may accept it.
    #[inline]
    pub(super) fn exceeds_capacity(&self, cost: u64) -> bool {
        cost > self.capacity() && !self.is_learned
    }

    /// Returns the most units that fit at one instant.
    pub(super) fn capacity(&self) -> u64 {
        self.burst.map_or(self.limit, |burst| burst.min(self.limit))
    }

    /// Returns when `cost` fits behind `ahead` queued units.
    #[inline]
    pub(super) fn due(&self, ahead: u64, cost: u64, now: u64, in_turn: bool) -> Decision {
        let due = self.due_as_it_is(ahead, cost, now, in_turn);
        // The share grows with time, so it may fit sooner: check again.
        if in_turn && !self.share.is_replayable() && due != Decision::WAIT_FOR_OTHERS {
            return due.min(Decision::after((self.period / LOOKS).max(1)));
        }
        due
    }

    #[inline]
    fn due_as_it_is(&self, ahead: u64, cost: u64, now: u64, in_turn: bool) -> Decision {
        let cap = self.ours(now);
        if self.exceeds_capacity(cost) {
            return Decision::WAIT_FOR_OTHERS;
        }
        let reserved = self.reserved;
        // A request larger than the share is admitted once nothing else counts.
        let capacity = cap.min(self.capacity()).max(cost).max(1);
        match &self.memory {
            Tally::RefundableBucket(bucket, _) => {
                let units = ahead.saturating_add(cost).saturating_add(reserved);
                match bucket.due(units.min(2 * MOST), capacity, cap, in_turn) {
                    0 => Decision::Admit,
                    // Reserved units do not refill.
                    _ if reserved.saturating_add(cost) > capacity => Decision::WAIT_FOR_OTHERS,
                    wait => Decision::after(wait),
                }
            }
            Tally::RefundableWindow(window, _) => {
                let held = window.used().saturating_add(reserved);
                if held.saturating_add(ahead).saturating_add(cost) <= capacity {
                    return Decision::Admit;
                }
                let (laps, units) = (ahead / capacity, ahead % capacity + cost);
                let over = held.saturating_add(units).saturating_sub(capacity);
                let first = match window.gone_at(over, self.period) {
                    Some(gone_at) => gone_at.saturating_sub(now),
                    // Reserved for responses whose end is unknown.
                    None if ahead == 0 => return Decision::WAIT_FOR_OTHERS,
                    // Those ahead of it start now at the earliest.
                    None => self.period,
                };
                Decision::after(self.period.saturating_mul(laps).saturating_add(first))
            }
        }
    }

    /// Takes the units that a request reserves.
    #[inline]
    pub(super) fn admit(&mut self, cost: u64, now: u64, in_turn: bool) {
        self.total = self.total.wrapping_add(cost);
        if self.counting == Counting::Completion {
            self.reserved = self.reserved.saturating_add(cost);
        } else {
            self.memory.take(cost, now, in_turn);
        }
    }

    /// Settles the request that reserved `cost` at `at`; `None` if its usage is unknown. It counts
    /// since `at`, or since `now` if it counts at completion.
    #[inline]
    pub(super) fn settle(&mut self, at: u64, cost: u64, used: Option<u64>, now: u64) {
        if at < self.born {
            return;
        }
        // A response costs at most the whole limit, whatever usage it reports.
        let used = used.unwrap_or(cost).min(self.limit.max(cost));
        match self.counting {
            Counting::Admission => {}
            Counting::Settled if used < cost => self.memory.give_back(at, cost - used),
            Counting::Settled => self.memory.take_more(at, used - cost, 2 * self.limit),
            Counting::Completion => {
                self.reserved = self.reserved.saturating_sub(cost);
                self.memory.take_more(now, used, 2 * self.limit);
            }
        }
        self.total = self.total.wrapping_add(used.saturating_sub(cost));
    }

    /// Returns the units of a request that reserved `cost` at `at` and that the provider has not
    /// counted.
    pub(super) fn refund(&mut self, at: u64, cost: u64) {
        if at < self.born {
            return;
        }
        self.returned = self.returned.wrapping_add(cost);
        if self.counting == Counting::Completion {
            self.reserved = self.reserved.saturating_sub(cost);
        } else {
            self.memory.give_back(at, cost);
        }
    }

    /// Returns the units that are taken or reserved.
    pub(super) fn used(&self) -> u64 {
        self.memory.used().saturating_add(self.reserved)
    }

    /// Returns the nanoseconds until nothing is taken.
    pub(super) fn resets_in(&self, now: u64) -> u64 {
        self.memory.resets_in(self.ours(now), now)
    }
}
