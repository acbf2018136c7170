//! One limit, and how much of it is used.
//!
//! `take` may exceed the limit, since a response may be longer than estimated; callers check `room`
//! first.

mod bucket;
mod window;

use std::{fmt::Debug, time::Duration};

use tokio::time::Instant;

use self::{bucket::Bucket, window::Window};
use super::limits::Kind;

/// One limit, and how much of it is used.
pub(crate) trait Allowance: Debug + Send {
    /// Whether so many units fit.
    fn room(&mut self, now: Instant, units: u64) -> Room;

    /// Takes units, whether they fit or not.
    fn take(&mut self, now: Instant, units: u64) -> Taken;

    /// Changes the units of what was taken.
    fn settle(&mut self, now: Instant, taken: &Taken, units: u64);

    fn left(&mut self, now: Instant) -> Left;

    /// Changes the limit. What is taken stays taken.
    fn set_limit(&mut self, now: Instant, limit: u64);
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

// ===== impl Left =====

impl Left {
    /// With what is left rounded to a multiple of `unit`, if the limit has more than 50 of them.
    pub(crate) fn rounded(self, unit: u64) -> Self {
        if unit < 2 || self.limit <= unit.saturating_mul(50) {
            return self;
        }
        let remaining = self.remaining.saturating_add(unit / 2) / unit * unit;
        Self { remaining, ..self }
    }
}

pub(crate) fn new(kind: Kind, limit: u64, window: Duration) -> Box<dyn Allowance> {
    match kind {
        Kind::Window => Box::new(Window::new(limit, window, false)),
        Kind::Fixed => Box::new(Window::new(limit, window, true)),
        Kind::Bucket => Box::new(Bucket::new(limit, window)),
    }
}
