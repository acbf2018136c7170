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

/// More than any provider allows. Sums of it, times the nanoseconds of a period, fit where they are made.
pub(super) const MOST: u64 = (1 << 40) - 1;

/// What is counted, the limit, and what has been taken from it.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) dimension: Dimension,
    counting: Counting,
    /// With the margin.
    pub(super) period: u64,
    memory: Tally,
    pub(super) limit: u64,
    /// A burst below the limit.
    burst: Option<u64>,
    /// Held back for answers that have not ended, where they count only then.
    pub(super) reserved: u64,
    share: Share,
    /// Found in headers. The provider may refuse what is too large for it; we don't.
    is_learned: bool,
    /// All that was ever reserved, or used on top of that; wrapping.
    total: u64,
    /// Of that, what came back because the provider did not let it in.
    returned: u64,
    /// When it was made.
    born: u64,
    /// A limit that was reported once and is too small to be believed at once.
    doubted: Option<(u64, u64)>,
    /// When the request was sent whose answer spoke last.
    heard: u64,
}

/// How often in a period somebody looks whether our share has grown.
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

    /// What is ours of the limit now.
    #[inline]
    pub(super) fn ours(&self, now: u64) -> u64 {
        self.share.of(self.limit, now)
    }

    #[inline]
    pub(super) fn advance(&mut self, now: u64) {
        let rate = self.share.of(self.limit, now);
        self.memory.advance(now, rate);
    }

    /// What a request for so many tokens takes.
    #[inline]
    pub(super) fn cost(&self, tokens: Tokens) -> u64 {
        Accounting::reserved(self.dimension, tokens).min(MOST)
    }

    /// Whether one of `cost` is more than ever fits. A limit that was found in headers lets even that pass, once
    /// nothing is before it: the provider may know better.
    #[inline]
    pub(super) fn exceeds_capacity(&self, cost: u64) -> bool {
        cost > self.capacity() && !self.is_learned
    }

    /// The most that is taken at one instant.
    pub(super) fn capacity(&self) -> u64 {
        self.burst.map_or(self.limit, |burst| burst.min(self.limit))
    }

    /// When `cost` fits behind others that wait for `ahead`.
    #[inline]
    pub(super) fn due(&self, ahead: u64, cost: u64, now: u64, in_turn: bool) -> Decision {
        let due = self.due_as_it_is(ahead, cost, now, in_turn);
        // Our share grows with time, so it may fit sooner: to be looked at again.
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
        // One that is larger than our share passes once there is nothing before it.
        let capacity = cap.min(self.capacity()).max(cost).max(1);
        match &self.memory {
            Tally::RefundableBucket(bucket, _) => {
                let units = ahead.saturating_add(cost).saturating_add(reserved);
                match bucket.due(units.min(2 * MOST), capacity, cap, in_turn) {
                    0 => Decision::Admit,
                    // What is held back does not refill.
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
                    // It is held back for others, and they end when they end.
                    None if ahead == 0 => return Decision::WAIT_FOR_OTHERS,
                    // Those ahead of it start now at the earliest.
                    None => self.period,
                };
                Decision::after(self.period.saturating_mul(laps).saturating_add(first))
            }
        }
    }

    /// Takes what a request reserves.
    #[inline]
    pub(super) fn admit(&mut self, cost: u64, now: u64, in_turn: bool) {
        self.total = self.total.wrapping_add(cost);
        if self.counting == Counting::Completion {
            self.reserved = self.reserved.saturating_add(cost);
        } else {
            self.memory.take(cost, now, in_turn);
        }
    }

    /// The request that reserved `cost` at `at` used `used`; `None` where nobody knows. It counts since `at`, or since `now` if
    /// it counts at its completion.
    #[inline]
    pub(super) fn settle(&mut self, at: u64, cost: u64, used: Option<u64>, now: u64) {
        if at < self.born {
            return;
        }
        // Whatever an answer claims, it costs no more than all of the limit once.
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

    /// The request that reserved `cost` at `at` was never counted by the provider.
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

    /// Units that are taken or held back now.
    pub(super) fn used(&self) -> u64 {
        self.memory.used().saturating_add(self.reserved)
    }

    /// Nanoseconds until nothing is taken any more.
    pub(super) fn resets_in(&self, now: u64) -> u64 {
        self.memory.resets_in(self.ours(now), now)
    }
}
