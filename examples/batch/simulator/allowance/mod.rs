//! One limit, and how much of it is used.
//!
//! `take` may exceed the limit, since a response may be longer than estimated; callers check `room`
//! first.

mod bucket;
mod window;

use std::time::Duration;

use tokio::time::Instant;

use self::{bucket::Bucket, window::Window};
use super::limits::Kind;

/// One limit, and how much of it is used.
#[derive(Debug)]
pub(crate) enum Allowance {
    Window(Window),
    Bucket(Bucket),
}

/// Units that were taken, and may be settled later.
#[derive(Debug)]
pub(crate) struct Taken {
    /// The place in a window's log.
    number: u64,
    units: u64,
}

/// Whether there is room, and if not, when there will be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Room {
    Now,
    /// After this long, if no other request takes it.
    In(Duration),
    /// The units exceed the whole limit.
    Never,
}

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// When the whole limit is there again.
    pub(crate) reset: Duration,
}

// ===== impl Allowance =====

impl Allowance {
    pub(crate) fn new(kind: Kind, limit: u64, window: Duration) -> Self {
        match kind {
            Kind::Window => Self::Window(Window::new(limit, window)),
            Kind::Bucket => Self::Bucket(Bucket::new(limit, window)),
        }
    }

    /// Whether so many units fit.
    pub(crate) fn room(&mut self, now: Instant, units: u64) -> Room {
        match self {
            Self::Window(window) => window.room(now, units),
            Self::Bucket(bucket) => bucket.room(now, units),
        }
    }

    /// Takes units, whether they fit or not.
    pub(crate) fn take(&mut self, now: Instant, units: u64) -> Taken {
        let number = match self {
            Self::Window(window) => window.take(now, units),
            Self::Bucket(bucket) => {
                bucket.take(now, units);
                0
            }
        };
        Taken { number, units }
    }

    /// Makes it so many units that were taken.
    pub(crate) fn settle(&mut self, now: Instant, taken: &Taken, units: u64) {
        match self {
            Self::Window(window) => window.settle(now, taken.number, units),
            Self::Bucket(bucket) => bucket.settle(now, taken.units, units),
        }
    }

    pub(crate) fn left(&mut self, now: Instant) -> Left {
        match self {
            Self::Window(window) => window.left(now),
            Self::Bucket(bucket) => bucket.left(now),
        }
    }

    /// Changes the limit. What is taken stays taken.
    pub(crate) fn set_limit(&mut self, now: Instant, limit: u64) {
        match self {
            Self::Window(window) => window.set_limit(limit),
            Self::Bucket(bucket) => bucket.set_limit(now, limit),
        }
    }
}
