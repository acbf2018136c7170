//! The units taken from a limit of either shape.

use crate::{
    ai::provider::{Shape, quota::bucket::RefundableBucket},
    limit::algorithm::window::{Period, RefundableWindow},
};

#[derive(Debug, Clone)]
pub(super) enum Tally {
    RefundableBucket(RefundableBucket),
    RefundableWindow(RefundableWindow, Period, Leaving),
}

/// The units of a window that are about to leave it, counted again only if they have changed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Leaving {
    units: u64,
    /// When the first of the others leaves. 0 if an older start has changed.
    next: u64,
}

// ===== impl Leaving =====

impl Leaving {
    /// Handles a change of the units that leave at `leaves`.
    #[inline]
    fn changed(&mut self, leaves: u64) {
        if leaves < self.next {
            self.next = 0;
        }
    }
}

// ===== impl Tally =====

impl Tally {
    pub(super) fn new(shape: Shape, period: u64, now: u64) -> Self {
        match shape {
            Shape::Bucket => Self::RefundableBucket(RefundableBucket::new(period, now)),
            Shape::Window => {
                let (window, period) = (RefundableWindow::with_room(), Period::in_parts(period));
                Self::RefundableWindow(window, period, Leaving::default())
            }
        }
    }

    pub(super) fn shape(&self) -> Shape {
        match self {
            Self::RefundableBucket(_) => Shape::Bucket,
            Self::RefundableWindow(..) => Shape::Window,
        }
    }

    #[inline]
    pub(super) fn advance(&mut self, now: u64, rate: u64) {
        match self {
            Self::RefundableBucket(bucket) => bucket.advance(now, rate),
            Self::RefundableWindow(window, period, leaving) => {
                let used = window.used();
                window.advance(period.nanos, now);
                // If others have left as well, they are counted again.
                leaving.units = leaving.units.saturating_sub(used - window.used());
            }
        }
    }

    #[inline]
    pub(super) fn take(&mut self, units: u64, now: u64, in_turn: bool) {
        match self {
            Self::RefundableBucket(bucket) => bucket.take(units, in_turn),
            Self::RefundableWindow(window, period, leaving) => {
                let at = window.start(period, now);
                window.take(at, units);
                leaving.changed(at.saturating_add(period.nanos));
            }
        }
    }

    /// Returns units that were taken at `at`, and how many of them still counted.
    #[inline]
    pub(super) fn give_back(&mut self, at: u64, units: u64) -> u64 {
        match self {
            Self::RefundableBucket(bucket) => bucket.give_back(at, units),
            Self::RefundableWindow(window, period, leaving) => {
                let (used, at) = (window.used(), window.start(period, at));
                window.give_back(at, units);
                leaving.changed(at.saturating_add(period.nanos));
                used - window.used()
            }
        }
    }

    pub(super) fn used(&self) -> u64 {
        match self {
            Self::RefundableBucket(bucket) => bucket.used(),
            Self::RefundableWindow(window, ..) => window.used(),
        }
    }

    /// Returns the units of now that still count at `at`, not rounded, or all if they drain evenly.
    #[inline]
    pub(super) fn used_after(&mut self, at: u64) -> u64 {
        match self {
            Self::RefundableBucket(bucket) => bucket.used(),
            Self::RefundableWindow(window, period, leaving) => {
                let at = period.rounded_up(at);
                if at >= leaving.next {
                    let (units, next) = window.leaving(period, at);
                    *leaving = Leaving { units, next };
                }
                window.used() - leaving.units
            }
        }
    }

    /// Returns the nanoseconds until nothing is taken.
    pub(super) fn resets_in(&self, rate: u64, now: u64) -> u64 {
        match self {
            Self::RefundableBucket(bucket) => bucket.resets_in(rate),
            Self::RefundableWindow(window, period, _) => {
                window.empty_at(period.nanos).saturating_sub(now)
            }
        }
    }
}
