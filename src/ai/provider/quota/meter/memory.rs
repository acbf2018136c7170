//! The units taken from a limit of either shape.

use crate::{
    ai::provider::{Shape, quota::bucket::RefundableBucket},
    limit::algorithm::window::{Period, RefundableWindow},
};

#[derive(Debug, Clone)]
pub(super) enum Tally {
    RefundableBucket(RefundableBucket),
    RefundableWindow(RefundableWindow, Period),
}

// ===== impl Tally =====

impl Tally {
    pub(super) fn new(shape: Shape, period: u64, now: u64) -> Self {
        match shape {
            Shape::Bucket => Self::RefundableBucket(RefundableBucket::new(period, now)),
            Shape::Window => {
                Self::RefundableWindow(RefundableWindow::with_room(), Period::in_parts(period))
            }
        }
    }

    #[inline]
    pub(super) fn advance(&mut self, now: u64, rate: u64) {
        match self {
            Self::RefundableBucket(bucket) => bucket.advance(now, rate),
            Self::RefundableWindow(window, period) => window.advance(period.nanos, now),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, units: u64, now: u64, in_turn: bool) {
        match self {
            Self::RefundableBucket(bucket) => bucket.take(units, in_turn),
            Self::RefundableWindow(window, period) => window.take(window.start(period, now), units),
        }
    }

    /// Returns units that were taken at `at`, and how many of them still counted.
    #[inline]
    pub(super) fn give_back(&mut self, at: u64, units: u64) -> u64 {
        match self {
            Self::RefundableBucket(bucket) => bucket.give_back(at, units),
            Self::RefundableWindow(window, period) => {
                let used = window.used();
                window.give_back(window.start(period, at), units);
                used - window.used()
            }
        }
    }

    pub(super) fn used(&self) -> u64 {
        match self {
            Self::RefundableBucket(bucket) => bucket.used(),
            Self::RefundableWindow(window, _) => window.used(),
        }
    }

    /// Returns the units of now that still count at `at`, not rounded, or all if they drain evenly.
    #[inline]
    pub(super) fn used_after(&self, at: u64) -> u64 {
        match self {
            Self::RefundableBucket(bucket) => bucket.used(),
            Self::RefundableWindow(window, period) => window.used_after(period, at),
        }
    }

    /// Returns the nanoseconds until nothing is taken.
    pub(super) fn resets_in(&self, rate: u64, now: u64) -> u64 {
        match self {
            Self::RefundableBucket(bucket) => bucket.resets_in(rate),
            Self::RefundableWindow(window, period) => {
                window.empty_at(period.nanos).saturating_sub(now)
            }
        }
    }
}
