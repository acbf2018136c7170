//! The algorithms of the limits: lock-free, with the time as an argument in nanoseconds.

pub(crate) mod gcra;
mod sliding_log;
mod sliding_ring;
pub(crate) mod sliding_window;
pub(crate) mod window;

use crate::{
    limit::{decision::Decision, quota::Quota},
    sync::{AtomicU64, Ordering},
};

/// What one request took, so that it can be given back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    pub(crate) cost: u64,
    /// Where it is: when the bucket will be full, the number of the first unit, or of the part.
    pub(crate) place: u64,
    /// When it was taken; in a bucket, when it would be full again if it was full before.
    pub(crate) at: u64,
    /// In a bucket, what had been given back before.
    pub(crate) given: u64,
}

impl Mark {
    /// Returns the mark of a request before which nothing was given back.
    pub(crate) fn new(cost: u64, place: u64, at: u64) -> Self {
        let given = 0;
        Self {
            cost,
            place,
            at,
            given,
        }
    }

    /// Returns how long a bucket, in which `given` was given back by now, still has to refill for
    /// this and all that was taken before.
    ///
    /// What was taken first refills first, and earlier by all that was given back since, which may
    /// have been taken before it. So nothing is given back twice, or after it has refilled.
    pub(crate) fn missing(&self, given: u64, now: u64) -> u64 {
        let earlier = given.saturating_sub(self.given);
        let refilled_at = self.place.saturating_sub(earlier).max(self.at);
        refilled_at.saturating_sub(now)
    }
}

/// The interface of token bucket and sliding window.
///
/// `now` is in nanoseconds of a monotonic clock. Nothing is admitted but by `take` and
/// `take_in_turn`, whose error is never [`Decision::Admit`].
pub trait Algorithm: Send + Sync + 'static {
    /// Returns the most units that can be taken at once.
    fn capacity(&self) -> u64;

    /// Returns the units that count at `now`.
    fn used(&self, now: u64) -> u64;

    /// Takes `cost` units if they are available at `now`.
    ///
    /// # Errors
    ///
    /// Returns when they will be available.
    fn take(&self, cost: u64, now: u64) -> Result<Mark, Decision>;

    /// Takes `cost` units for the head of the queue, which may be late because of its timer.
    ///
    /// # Errors
    ///
    /// As [`take`](Self::take).
    fn take_in_turn(&self, cost: u64, now: u64) -> Result<Mark, Decision> {
        self.take(cost, now)
    }

    /// Gives back what a request took and did not use, as far as it is still missing at `now`. The
    /// quota must not have changed since.
    fn give_back(&self, mark: &Mark, now: u64);

    /// Changes the quota. The units that are in use stay so.
    fn set_quota(&self, quota: &Quota, now: u64);

    /// Returns the nanoseconds until `units` more can all have been taken, each as early as
    /// possible. Never too long, except for concurrent changes by other threads.
    fn wait(&self, units: u64, now: u64) -> u64;

    /// Returns the nanoseconds until one request of `cost` can be admitted.
    fn due_in(&self, cost: u64, now: u64) -> u64 {
        self.wait(cost, now)
    }
}

/// Repeats `look` at the number until it has not changed meanwhile.
fn steady(number: &AtomicU64, look: impl Fn(u64) -> u64) -> u64 {
    // Acquire: pairs with the exchanges that change the number.
    let mut seen = number.load(Ordering::Acquire);
    loop {
        let result = look(seen);
        match moved_on(number, seen) {
            Some(other) => seen = other,
            None => return result,
        }
    }
}

/// Returns the number, if it is no longer `seen`.
fn moved_on(number: &AtomicU64, seen: u64) -> Option<u64> {
    // Acquire: as in `steady`, and so that what was read before was read earlier.
    let now = number.load(Ordering::Acquire);
    (now != seen).then_some(now)
}
