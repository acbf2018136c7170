//! The sums: pure in time, which is given to them in nanoseconds, and free of locks.

pub(crate) mod gcra;
mod sliding_log;
mod sliding_ring;
pub(crate) mod sliding_window;
#[cfg(any(feature = "per-key", feature = "provider"))]
pub(crate) mod window;

use crate::limit::decision::Decision;

/// What a token bucket and a sliding window have in common.
///
/// `now` counts nanoseconds on one clock that never goes back.
pub trait Algorithm {
    /// The most units that are ever admitted at once.
    fn capacity(&self) -> u64;

    /// Takes `cost` units if they fit at `now`.
    fn take(&self, cost: u64, now: u64) -> Decision;

    /// Takes `cost` units for a request that has waited its turn, and may be late because a timer was.
    fn take_in_turn(&self, cost: u64, now: u64) -> Decision {
        self.take(cost, now)
    }

    /// How many nanoseconds until `units` more, taken as early as possible, have all been taken. Never too long, but
    /// for what other threads are changing at this very moment.
    fn wait(&self, units: u64, now: u64) -> u64;

    /// How many nanoseconds until one request of `cost` fits.
    fn due_in(&self, cost: u64, now: u64) -> u64 {
        self.wait(cost, now)
    }
}
