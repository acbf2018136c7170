//! The algorithms of the limits: lock-free, with the time as an argument in nanoseconds.

pub(crate) mod gcra;
mod sliding_log;
mod sliding_ring;
pub(crate) mod sliding_window;
#[cfg(any(feature = "per-key", feature = "provider"))]
pub(crate) mod window;

use crate::limit::decision::Decision;

/// The interface of token bucket and sliding window.
///
/// `now` is in nanoseconds of a monotonic clock.
pub trait Algorithm {
    /// Returns the most units that can be taken at once.
    fn capacity(&self) -> u64;

    /// Takes `cost` units if they are available at `now`.
    fn take(&self, cost: u64, now: u64) -> Decision;

    /// Takes `cost` units for the head of the queue, which may be late because of its timer.
    fn take_in_turn(&self, cost: u64, now: u64) -> Decision {
        self.take(cost, now)
    }

    /// Returns the nanoseconds until `units` more can all have been taken, each as early as
    /// possible. Never too long, except for concurrent changes by other threads.
    fn wait(&self, units: u64, now: u64) -> u64;

    /// Returns the nanoseconds until one request of `cost` can be admitted.
    fn due_in(&self, cost: u64, now: u64) -> u64 {
        self.wait(cost, now)
    }
}
