//! Additive increase, multiplicative decrease, by a latency that is not to be exceeded.

use super::window::Seen;

#[derive(Debug, Clone, Copy)]
pub(super) struct Aimd {
    /// In nanoseconds.
    pub(super) threshold: f64,
    pub(super) backoff: f64,
}

// ===== impl Aimd =====

impl Aimd {
    pub(super) fn step(&self, limit: f64, seen: &Seen) -> f64 {
        if seen.latency.is_some_and(|latency| latency > self.threshold) {
            limit * self.backoff
        } else if seen.latency.is_some() && seen.is_used {
            // More where there is more, so that a limit of hundreds does not take hundreds of round trips.
            limit + limit.sqrt().max(1.0)
        } else {
            limit
        }
    }
}
