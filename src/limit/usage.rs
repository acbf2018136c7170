//! Snapshot of a limiter.

/// How much of a limit is used at one instant. Every limiter returns it, and it is cheap enough to
/// poll.
///
/// ```
/// use tower_throttle::{Quota, TokenBucketLimiter};
///
/// let limiter = TokenBucketLimiter::new(Quota::per_hour(100));
/// limiter.try_acquire(30)?;
///
/// let usage = limiter.usage();
/// assert_eq!((usage.limit, usage.used, usage.waiting), (100, 30, 0));
/// assert_eq!(usage.remaining(), 70);
/// # Ok::<(), tower_throttle::Rejected>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimiterUsage {
    /// The limit: the burst of a token bucket, the units of a sliding window, or the requests in
    /// flight.
    pub limit: u64,
    /// The units that count now, rounded up; the requests in flight of a limit on concurrency. It
    /// can exceed the limit after that was lowered.
    pub used: u64,
    /// The number of waiting requests.
    pub waiting: usize,
}

// ===== impl LimiterUsage =====

impl LimiterUsage {
    /// Returns the units that are free now. Requests that wait are ahead of a new one.
    #[must_use]
    pub const fn remaining(&self) -> u64 {
        self.limit.saturating_sub(self.used)
    }

    #[cfg(feature = "metrics")]
    pub(crate) fn publish(&self, layer: &'static str, name: &'static str) {
        use crate::telemetry::metrics::{LIMIT, USED, WAITING, set};

        set(LIMIT, layer, name, self.limit);
        set(USED, layer, name, self.used);
        set(WAITING, layer, name, self.waiting as u64);
    }
}
