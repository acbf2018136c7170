//! One limit of a provider.

mod report;

pub(super) use self::report::Mark;
use self::report::Reports;
use crate::{
    ai::{
        provider::{Accounting, Counting, Shape, quota::bucket::RefundableBucket},
        tokens::Tokens,
    },
    http::Dimension,
    limit::{
        Decision,
        algorithm::window::{Period, RefundableWindow},
        nanos,
    },
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
    margin: u64,
    memory: Tally,
    pub(super) limit: u64,
    /// A burst below the limit.
    burst: Option<u64>,
    /// Reserved for responses that have not ended, if they count only then.
    reserved: u64,
    /// Learned from headers. A request larger than this is not rejected here; the provider decides.
    is_learned: bool,
    /// A response told that it is a window.
    is_window: bool,
    /// A store decides whether a request fits.
    pub(super) is_stored: bool,
    /// When the meter was created.
    born: u64,
    reports: Reports,
}

/// The units taken from a limit of either shape.
#[derive(Debug, Clone)]
enum Tally {
    Bucket(RefundableBucket),
    Window(RefundableWindow, Period),
}

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
            margin: nanos(quota.margin).min(period),
            memory: Tally::new(limit.shape, period, now),
            limit: quota.units().min(MOST),
            burst: (limit.shape == Shape::Bucket && quota.burst_size() < quota.units())
                .then(|| quota.burst_size()),
            reserved: 0,
            is_learned,
            is_window: false,
            is_stored: false,
            born: now,
            reports: Reports::default(),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self.memory {
            Tally::Bucket(_) => Shape::Bucket,
            Tally::Window(..) => Shape::Window,
        }
    }

    #[inline]
    pub(super) fn advance(&mut self, now: u64) {
        match &mut self.memory {
            Tally::Bucket(bucket) => bucket.advance(now, self.limit),
            Tally::Window(window, period) => window.advance(period.nanos, now),
        }
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
    #[inline]
    pub(super) fn capacity(&self) -> u64 {
        self.burst.map_or(self.limit, |burst| burst.min(self.limit))
    }

    /// Returns when `cost` fits behind `ahead` queued units.
    #[inline]
    pub(super) fn due(&self, ahead: u64, cost: u64, now: u64, in_turn: bool) -> Decision {
        if self.exceeds_capacity(cost) {
            return Decision::WAIT_FOR_OTHERS;
        }
        // A request larger than a learned limit is admitted once nothing else counts.
        let capacity = self.capacity().saturating_sub(self.headroom(now));
        let capacity = capacity.max(cost).max(1);
        match &self.memory {
            Tally::Bucket(bucket) => {
                // Reserved units do not drain. Units of other clients count while ours do.
                let pending = self.pending(now);
                let others = self.others(now).saturating_add(pending);
                let alone = ahead.saturating_add(cost);
                let due =
                    |units: u64| bucket.due(units.min(2 * MOST), capacity, self.limit, in_turn);
                match due(alone.saturating_add(others)) {
                    0 => Decision::Admit,
                    _ if pending.saturating_add(cost) > capacity => Decision::WAIT_FOR_OTHERS,
                    wait if pending > 0 => Decision::after(wait),
                    wait => {
                        let drained = self.resets_in(now).max(due(alone));
                        Decision::after(wait.min(drained))
                    }
                }
            }
            Tally::Window(..) => {
                let held = self.used(now);
                if held.saturating_add(ahead).saturating_add(cost) <= capacity {
                    return Decision::Admit;
                }
                let (laps, units) = (ahead / capacity, ahead % capacity + cost);
                let over = held.saturating_add(units).saturating_sub(capacity);
                let first = match self.gone_at(over, now) {
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

    /// Takes the units that a request reserves, and returns how many of them count now.
    #[inline]
    pub(super) fn admit(&mut self, cost: u64, now: u64, in_turn: bool) -> u64 {
        if self.counting == Counting::Completion {
            self.reserved = self.reserved.saturating_add(cost);
            return 0;
        }
        self.take(cost, now, in_turn);
        cost
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
            Counting::Settled if used < cost => {
                self.give_back(at, cost - used);
            }
            Counting::Settled => self.take(used - cost, at, false),
            Counting::Completion => {
                self.reserved = self.reserved.saturating_sub(cost);
                self.take(used, now, false);
            }
        }
    }

    /// Returns the units of a request that reserved `cost` at `at` and that the provider has not
    /// counted, and how many of them still counted.
    pub(super) fn refund(&mut self, at: u64, cost: u64) -> u64 {
        if at < self.born {
            return 0;
        }
        if self.counting == Counting::Completion {
            self.reserved = self.reserved.saturating_sub(cost);
            return 0;
        }
        self.give_back(at, cost)
    }

    #[inline]
    fn take(&mut self, units: u64, at: u64, in_turn: bool) {
        self.memory.take(units, at, in_turn);
        self.reports.count(units, 0);
    }

    #[inline]
    fn give_back(&mut self, at: u64, units: u64) -> u64 {
        let returned = match &mut self.memory {
            Tally::Bucket(bucket) => bucket.give_back(at, units),
            Tally::Window(window, period) => {
                let used = window.used();
                window.give_back(window.start(period, at), units);
                used - window.used()
            }
        };
        self.reports.count(0, returned);
        returned
    }

    /// Returns the units that count or are reserved.
    pub(super) fn used(&self, now: u64) -> u64 {
        self.counted(now).saturating_add(self.pending(now))
    }

    /// Returns the nanoseconds until nothing is taken.
    pub(super) fn resets_in(&self, now: u64) -> u64 {
        match &self.memory {
            Tally::Bucket(bucket) => bucket.due(0, 0, self.limit, false),
            Tally::Window(window, period) => window.empty_at(period.nanos).saturating_sub(now),
        }
    }
}

// ===== impl Tally =====

impl Tally {
    fn new(shape: Shape, period: u64, now: u64) -> Self {
        match shape {
            Shape::Bucket => Self::Bucket(RefundableBucket::new(period, now)),
            Shape::Window => Self::Window(RefundableWindow::with_room(), Period::in_parts(period)),
        }
    }

    #[inline]
    fn take(&mut self, units: u64, now: u64, in_turn: bool) {
        match self {
            Self::Bucket(bucket) => bucket.take(units, in_turn),
            Self::Window(window, period) => window.take(window.start(period, now), units),
        }
    }

    fn used(&self) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.used(),
            Self::Window(window, ..) => window.used(),
        }
    }
}
