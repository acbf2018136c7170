//! The units taken from a limit of either shape.

use crate::{
    ai::provider::{
        Shape,
        quota::{bucket::RefundableBucket, tide::Tide},
    },
    limit::algorithm::window::{Period, RefundableWindow},
};

#[derive(Debug, Clone)]
pub(super) enum Tally {
    RefundableBucket(RefundableBucket, Tide),
    RefundableWindow(RefundableWindow, Period),
}

// ===== impl Tally =====

impl Tally {
    pub(super) fn new(shape: Shape, period: u64, now: u64) -> Self {
        match shape {
            Shape::Bucket => {
                Self::RefundableBucket(RefundableBucket::new(period, now), Tide::new(now))
            }
            Shape::Window => {
                Self::RefundableWindow(RefundableWindow::with_room(), Period::in_parts(period))
            }
        }
    }

    #[inline]
    pub(super) fn advance(&mut self, now: u64, rate: u64) {
        match self {
            Self::RefundableBucket(bucket, _) => bucket.advance(now, rate),
            Self::RefundableWindow(window, period) => window.advance(period.nanos, now),
        }
    }

    #[inline]
    pub(super) fn take(&mut self, units: u64, now: u64, in_turn: bool) {
        match self {
            Self::RefundableBucket(bucket, _) => bucket.take(units, in_turn),
            Self::RefundableWindow(window, period) => window.take(window.start(period, now), units),
        }
    }

    /// Takes units that were used without a reservation by a request that started at `at`, up to
    /// `most` in a bucket.
    #[inline]
    pub(super) fn take_more(&mut self, at: u64, units: u64, most: u64) {
        match self {
            Self::RefundableBucket(bucket, _) => bucket.take_up_to(units, most),
            Self::RefundableWindow(window, period) => window.take(window.start(period, at), units),
        }
    }

    #[inline]
    pub(super) fn give_back(&mut self, at: u64, units: u64) {
        match self {
            Self::RefundableBucket(bucket, _) => bucket.give_back(at, units),
            Self::RefundableWindow(window, period) => {
                window.give_back(window.start(period, at), units)
            }
        }
    }

    pub(super) fn used(&self) -> u64 {
        match self {
            Self::RefundableBucket(bucket, _) => bucket.used(),
            Self::RefundableWindow(window, _) => window.used(),
        }
    }

    /// Returns the nanoseconds until nothing is taken.
    pub(super) fn resets_in(&self, rate: u64, now: u64) -> u64 {
        match self {
            Self::RefundableBucket(bucket, _) => bucket.resets_in(rate),
            Self::RefundableWindow(window, period) => {
                window.empty_at(period.nanos).saturating_sub(now)
            }
        }
    }
}
