//! How it stands with a provider's limits.

use std::{fmt, time::Duration};

use crate::http::{Dimension, RateLimits};

/// How it stands with each limit at one instant. Cheap enough to poll: no allocation, and a lock for some hundred
/// nanoseconds.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    pub(super) limits: [Option<LimitUsage>; Usage::MOST],
    /// Requests in flight, to the end of their answers.
    pub in_flight: u64,
    /// Requests that wait.
    pub waiting: u64,
    /// Requests that were refused on this side, since the limiter was made.
    pub refused: u64,
    /// How long nothing starts any more, because the provider asked for it.
    pub paused_for: Duration,
}

/// How it stands with one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitUsage {
    /// What is counted.
    pub dimension: Dimension,
    /// Over how long, the margin included; `None` for what is in flight.
    pub period: Option<Duration>,
    /// The limit.
    pub limit: u64,
    /// What is ours of the limit: less than all of it where others use the same key.
    pub ours: u64,
    /// What is counted now.
    pub used: u64,
    /// What is held back on top of that for answers that have not ended.
    pub reserved: u64,
    /// How long until nothing is counted any more, if nothing starts.
    pub resets_in: Duration,
}

// ===== impl Usage =====

impl Usage {
    pub(super) const MOST: usize = RateLimits::MOST + 1;

    /// The first limit on `dimension`: that a minute, where there is one a day, too.
    #[must_use]
    pub fn get(&self, dimension: Dimension) -> Option<&LimitUsage> {
        self.limits().find(|limit| limit.dimension == dimension)
    }

    /// Each limit; the one on concurrency is the last.
    pub fn limits(&self) -> impl Iterator<Item = &LimitUsage> {
        self.limits.iter().flatten()
    }

    /// Logs the limits that are not what they were `before`.
    #[cfg(feature = "tracing")]
    pub(super) fn log_learned(&self, before: &Self) {
        for limit in self.limits() {
            let key = |limit: &LimitUsage| (limit.dimension, limit.period);
            let was = before.limits().find(|other| key(other) == key(limit));
            let was = was.map(|limit| limit.limit);
            if was != Some(limit.limit) {
                tracing::debug!(
                    dimension = %limit.dimension,
                    period = ?limit.period,
                    limit = limit.limit,
                    was,
                    "learned a limit"
                );
            }
        }
    }
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage")
            .field("limits", &self.limits().collect::<Vec<_>>())
            .field("in_flight", &self.in_flight)
            .field("waiting", &self.waiting)
            .field("refused", &self.refused)
            .field("paused_for", &self.paused_for)
            .finish()
    }
}
