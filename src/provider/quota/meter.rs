//! One limit of a provider.

use super::{
    bucket::Bucket,
    share::Share,
    tide::{Reading, Tide},
    window::Window,
};
use crate::{
    Dimension, Tokens,
    provider::{Accounting, Counting, Shape},
    quota::nanos,
};

/// More than any provider allows. Sums of it, times the nanoseconds of a period, fit where they are made.
pub(super) const MOST: u64 = (1 << 40) - 1;

/// When there is room for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Due {
    Now,
    /// After so many nanoseconds.
    In(u64),
    /// When others have ended, whenever that is.
    Unknown,
}

/// What is counted, the limit, and what has been taken from it.
#[derive(Debug, Clone)]
pub(super) struct Meter {
    pub(super) dimension: Dimension,
    counting: Counting,
    /// With the margin.
    period: u64,
    memory: Memory,
    limit: u64,
    /// A burst below the limit.
    burst: Option<u64>,
    /// Held back for answers that have not ended, where they count only then.
    reserved: u64,
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

/// The two shapes of a limit.
#[derive(Debug, Clone)]
enum Memory {
    Bucket(Bucket, Tide),
    Window(Window),
}

/// A limit from which less than this part is left, all at once, is believed when it is told twice.
const DOUBTFUL: u64 = 8;

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
            memory: match limit.shape {
                Shape::Bucket => Memory::Bucket(Bucket::new(period, now), Tide::new(now)),
                Shape::Window => Memory::Window(Window::new(period, now)),
            },
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

    pub(super) fn period(&self) -> u64 {
        self.period
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// What is ours of the limit now.
    #[inline]
    pub(super) fn ours(&self, now: u64) -> u64 {
        self.share.of(self.limit, now)
    }

    #[inline]
    pub(super) fn advance(&mut self, now: u64) {
        let rate = self.share.of(self.limit, now);
        match &mut self.memory {
            Memory::Bucket(bucket, _) => bucket.advance(now, rate),
            Memory::Window(window) => window.advance(now),
        }
    }

    /// What a request for so many tokens takes.
    #[inline]
    pub(super) fn cost(&self, tokens: Tokens) -> u64 {
        Accounting::reserved(self.dimension, tokens).min(MOST)
    }

    /// Whether one of `cost` is more than ever fits. A limit that was found in headers lets even that pass, once
    /// nothing is before it: the provider may know better.
    #[inline]
    pub(super) fn never_fits(&self, cost: u64) -> bool {
        cost > self.capacity() && !self.is_learned
    }

    /// The most that is taken at one instant.
    pub(super) fn capacity(&self) -> u64 {
        self.burst.map_or(self.limit, |burst| burst.min(self.limit))
    }

    /// When `cost` fits behind others that wait for `ahead`.
    #[inline]
    pub(super) fn due(&self, ahead: u64, cost: u64, now: u64, in_turn: bool) -> Due {
        match self.due_as_it_is(ahead, cost, now, in_turn) {
            // Our share grows with time, so it may fit sooner: to be looked at again.
            Due::In(wait) if in_turn && !self.share.is_whole() => {
                Due::In(wait.min(self.period / LOOKS))
            }
            due => due,
        }
    }

    #[inline]
    fn due_as_it_is(&self, ahead: u64, cost: u64, now: u64, in_turn: bool) -> Due {
        let cap = self.ours(now);
        if self.never_fits(cost) {
            return Due::Unknown;
        }
        match &self.memory {
            Memory::Bucket(bucket, _) => {
                // One that is larger than our share passes once there is nothing before it.
                let capacity = cap.min(self.capacity()).max(cost);
                let units = ahead.saturating_add(cost).saturating_add(self.reserved);
                match bucket.due(units.min(2 * MOST), capacity, cap, in_turn) {
                    0 => Due::Now,
                    // What is held back does not refill.
                    _ if self.reserved.saturating_add(cost) > capacity => Due::Unknown,
                    wait => Due::In(wait),
                }
            }
            Memory::Window(window) => {
                let capacity = cap.max(cost).max(1);
                let held = window.used().saturating_add(self.reserved);
                if held.saturating_add(ahead).saturating_add(cost) <= capacity {
                    return Due::Now;
                }
                let (laps, units) = (ahead / capacity, ahead % capacity + cost);
                let over = held.saturating_add(units).saturating_sub(capacity);
                let first = match window.until_gone(over, now) {
                    Some(wait) => wait,
                    // It is held back for others, and they end when they end.
                    None if ahead == 0 => return Due::Unknown,
                    // Those ahead of it start now at the earliest.
                    None => self.period,
                };
                Due::In(self.period.saturating_mul(laps).saturating_add(first))
            }
        }
    }

    /// Takes what a request reserves.
    #[inline]
    pub(super) fn admit(&mut self, cost: u64, in_turn: bool) {
        self.total = self.total.wrapping_add(cost);
        if self.counting == Counting::Completion {
            self.reserved = self.reserved.saturating_add(cost);
        } else {
            self.take(cost, in_turn);
        }
    }

    /// The request that reserved `cost` at `at` used `used`; `None` where nobody knows.
    #[inline]
    pub(super) fn settle(&mut self, at: u64, cost: u64, used: Option<u64>) {
        if at < self.born {
            return;
        }
        // Whatever an answer claims, it costs no more than all of the limit once.
        let used = used.unwrap_or(cost).min(self.limit.max(cost));
        match self.counting {
            Counting::Admission => {}
            Counting::Settled if used < cost => self.give_back(at, cost - used),
            Counting::Settled => match &mut self.memory {
                Memory::Bucket(bucket, _) => bucket.take_up_to(used - cost, 2 * self.limit),
                Memory::Window(window) => window.take_at(at, used - cost),
            },
            Counting::Completion => {
                self.reserved = self.reserved.saturating_sub(cost);
                match &mut self.memory {
                    Memory::Bucket(bucket, _) => bucket.take_up_to(used, 2 * self.limit),
                    Memory::Window(window) => window.take(used),
                }
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
            self.give_back(at, cost);
        }
    }

    /// Units that are taken or held back now.
    pub(super) fn used(&self) -> u64 {
        self.taken().saturating_add(self.reserved)
    }

    pub(super) fn reserved(&self) -> u64 {
        self.reserved
    }

    /// Nanoseconds until nothing is taken any more.
    pub(super) fn resets_in(&self, now: u64) -> u64 {
        match &self.memory {
            Memory::Bucket(bucket, _) => bucket.resets_in(self.ours(now)),
            Memory::Window(window) => window.until_gone(window.used(), now).unwrap_or(0),
        }
    }

    /// A provider that just found this limit says that so much of it is used.
    pub(super) fn found_used(&mut self, used: u64) {
        self.take(used.min(self.limit), false);
    }

    /// Changes the limit, for good.
    pub(super) fn set_limit(&mut self, limit: u64) {
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
    pub(super) fn mark(&self) -> u64 {
        match &self.memory {
            Memory::Window(_) => self.used().wrapping_sub(self.total),
            Memory::Bucket(..) => self.total.wrapping_sub(self.returned),
        }
    }

    /// Hears what the answer to a request that was sent at `sent`, with this `mark`, says of the limit and what is left.
    pub(super) fn hear(
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
            Memory::Window(_) => {
                let ours = mark.wrapping_add(self.total);
                if used > ours.saturating_add(slack) {
                    self.share.observe(limit, used, ours, now);
                } else {
                    self.share.all_is_ours(now);
                }
            }
            Memory::Bucket(bucket, tide) => {
                let reading = Reading {
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

    fn taken(&self) -> u64 {
        match &self.memory {
            Memory::Bucket(bucket, _) => bucket.used(),
            Memory::Window(window) => window.used(),
        }
    }

    #[inline]
    fn take(&mut self, units: u64, in_turn: bool) {
        match &mut self.memory {
            Memory::Bucket(bucket, _) => bucket.take(units, in_turn),
            Memory::Window(window) => window.take(units),
        }
    }

    #[inline]
    fn give_back(&mut self, at: u64, units: u64) {
        match &mut self.memory {
            Memory::Bucket(bucket, _) => bucket.give_back(units),
            Memory::Window(window) => window.give_back(at, units),
        }
    }
}
