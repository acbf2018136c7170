//! Snapshot of a provider's limits.

use std::time::Duration;

use crate::http::Dimension;

/// The usage of each limit at one instant. Cheap enough to poll: it allocates one list, and takes a
/// lock for some hundred nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    pub(super) limits: Vec<LimitUsage>,
    /// Requests in flight, until their response bodies have ended.
    pub in_flight: u64,
    /// Queued requests. One that a [`Router`](crate::Router) lets wait for several providers counts
    /// at each of them.
    pub waiting: u64,
    /// Requests rejected by this limiter since it was created.
    pub refused: u64,
    /// Time for which no request starts, because the provider asked for it.
    pub paused_for: Duration,
}

/// The usage of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct LimitUsage {
    /// What the limit counts.
    pub dimension: Dimension,
    /// The period, including the margin; `None` for concurrency.
    pub period: Option<Duration>,
    /// The limit.
    pub limit: u64,
    /// The part of the limit that this client may use: less than the limit if other clients share
    /// the key.
    pub ours: u64,
    /// Units that count now.
    pub used: u64,
    /// Units reserved in addition for responses that have not ended.
    pub reserved: u64,
    /// Time until nothing counts any more, if no request starts.
    pub resets_in: Duration,
}

// ===== impl Usage =====

impl Usage {
    /// Returns the first limit on `dimension`: the one per minute if there is also one per day.
    #[must_use]
    pub fn get(&self, dimension: Dimension) -> Option<&LimitUsage> {
        self.limits().find(|limit| limit.dimension == dimension)
    }

    /// Returns each limit; the one on concurrency is the last.
    pub fn limits(&self) -> impl Iterator<Item = &LimitUsage> {
        self.limits.iter()
    }

    /// Logs the limits that differ from `before`.
    #[cfg(feature = "tracing")]
    pub(super) fn log_learned(&self, before: &Self) {
        for limit in self.limits() {
            let key = |limit: &LimitUsage| (limit.dimension, limit.period);
            let was = before.limits().find(|other| key(other) == key(limit));
            let was = was.map(|limit| limit.limit);
            if was != Some(limit.limit) {
                tracing::debug!(
                    target: "tower_throttle::provider",
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
