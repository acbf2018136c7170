//! The units taken from a limit of either shape.

use crate::{
    ai::provider::{Shape, quota::bucket::RefundableBucket},
    limit::algorithm::window::{Period, RefundableWindow},
};

#[derive(Debug, Clone)]
pub(super) enum Tally {
    Bucket(RefundableBucket),
    Window(RefundableWindow, Period),
}

// ===== impl Tally =====

impl Tally {
    pub(super) fn new(shape: Shape, period: u64, now: u64) -> Self {
        match shape {
            Shape::Bucket => Self::Bucket(RefundableBucket::new(period, now)),
            Shape::Window => Self::Window(RefundableWindow::with_room(), Period::in_parts(period)),
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::Bucket(_) => Shape::Bucket,
            Self::Window(..) => Shape::Window,
        }
    }

    #[inline]
    pub(super) fn advance(&mut self, now: u64, rate: u64) {
        match self {
            Self::Bucket(bucket) => bucket.advance(now, rate),
            Self::Window(window, period) => window.advance(period.nanos, now),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, units: u64, now: u64, in_turn: bool) {
        match self {
            Self::Bucket(bucket) => bucket.take(units, in_turn),
            Self::Window(window, period) => window.take(window.start(period, now), units),
        }
    }

    /// Returns units that were taken at `at`, and how many of them still counted.
    #[inline]
    pub(super) fn give_back(&mut self, at: u64, units: u64) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.give_back(at, units),
            Self::Window(window, period) => {
                let used = window.used();
                window.give_back(window.start(period, at), units);
                used - window.used()
            }
        }
    }

    pub(super) fn used(&self) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.used(),
            Self::Window(window, ..) => window.used(),
        }
    }

    /// Returns the units of now that still count at `at`, not rounded, or all if they drain evenly.
    #[inline]
    pub(super) fn used_after(&self, at: u64) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.used(),
            Self::Window(window, period) => window.used_at(period.nanos, period.rounded_up(at)),
        }
    }

    /// Returns the nanoseconds until nothing is taken.
    pub(super) fn resets_in(&self, rate: u64, now: u64) -> u64 {
        match self {
            Self::Bucket(bucket) => bucket.due(0, 0, rate, false),
            Self::Window(window, period) => window.empty_at(period.nanos).saturating_sub(now),
        }
    }
}
