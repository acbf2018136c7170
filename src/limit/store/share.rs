//! The part of a limit that a process keeps to while the store can't be used.

use crate::limit::{
    algorithm::{
        Mark,
        gcra::Refill,
        window::{Period, RefundableWindow},
    },
    nanos,
    store::call::LimitSpec,
};

/// A limit that one process counts alone, by the clock of the store as it was seen last.
#[derive(Debug)]
pub(super) enum LocalShare {
    Bucket {
        refill: Refill,
        full_at: u64,
    },
    Window {
        capacity: u64,
        period: Period,
        starts: RefundableWindow,
    },
}

// ===== impl LocalShare =====

impl LocalShare {
    /// Creates one of `processes` shares of a limit, of which this process has `taken` units at
    /// some instants, the oldest first.
    pub(super) fn new(limit: &LimitSpec, processes: u64, taken: &[(u64, u64)], now: u64) -> Self {
        let mut share = match *limit {
            LimitSpec::Bucket {
                capacity,
                unit_nanos,
            } => Self::Bucket {
                refill: Refill {
                    // At least one, if any: the rates still add up to the rate.
                    capacity: (capacity / processes).max(capacity.min(1)),
                    unit_nanos: unit_nanos.saturating_mul(processes),
                },
                full_at: 0,
            },
            LimitSpec::Window { capacity, .. } => Self::Window {
                capacity: capacity / processes,
                period: Period::in_parts(nanos(limit.span())),
                starts: RefundableWindow::default(),
            },
        };
        for (at, units) in taken {
            share.charge(*units, *at, now);
        }
        share
    }

    /// Returns the nanoseconds until `units` fit, or `None` if they never do.
    pub(super) fn wait(&mut self, units: u64, now: u64, is_in_turn: bool) -> Option<u64> {
        match self {
            _ if units == 0 => Some(0),
            Self::Bucket { refill, full_at } => {
                let wait = || refill.wait(*full_at, Refill::start(now, is_in_turn), units, now);
                (units <= refill.capacity).then(wait)
            }
            Self::Window {
                capacity,
                period,
                starts,
            } => {
                starts.advance(period.nanos, now);
                let wait = || starts.wait(*capacity, period, units, now);
                (units <= *capacity).then(wait)
            }
        }
    }

    /// Takes units that fit and start by `latest`.
    pub(super) fn take(&mut self, units: u64, now: u64, latest: u64, is_in_turn: bool) -> Mark {
        let mark = |place| Mark::new(units, place, place);
        match self {
            _ if units == 0 => Mark::default(),
            Self::Bucket { refill, full_at } => {
                *full_at = refill.after(*full_at, Refill::start(now, is_in_turn), units);
                mark(refill.after(0, now, units))
            }
            Self::Window { period, starts, .. } => {
                let start = starts.start(period, latest);
                starts.take(start, units);
                mark(start)
            }
        }
    }

    /// Gives back what a request took and did not use, here or from the store.
    pub(super) fn give_back(&mut self, mark: &Mark, now: u64) {
        match self {
            Self::Bucket { refill, full_at } => {
                // At least what would have refilled of it if it had been taken alone.
                let missing = mark.at.min(*full_at).saturating_sub(now);
                *full_at -= mark.cost.saturating_mul(refill.unit_nanos).min(missing);
            }
            Self::Window { period, starts, .. } => {
                let start = starts.start(period, mark.at);
                starts.give_back(start, mark.cost);
            }
        }
    }

    /// Adds units that count from `at` on, whether they fit or not, up to twice the limit.
    pub(super) fn charge(&mut self, units: u64, at: u64, now: u64) {
        match self {
            Self::Bucket { refill, full_at } => {
                let most = now.saturating_add(refill.burst_nanos().saturating_mul(2));
                *full_at = refill.after(*full_at, now, units).min(most);
            }
            Self::Window {
                capacity,
                period,
                starts,
            } => {
                starts.advance(period.nanos, now);
                let room = capacity.saturating_mul(2).saturating_sub(starts.used());
                let start = starts.start(period, at);
                starts.take(start, units.min(room));
            }
        }
    }
}
