//! The settings of a retry layer, and the computation of the next wait.

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use super::{Attempts, Backoff, Budget, BudgetRegistry};
use crate::{
    backoff::above_hint,
    sync::{AtomicU64, Ordering},
};

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) backoff: Backoff,
    pub(super) attempts: u32,
    pub(super) max_backoff: Duration,
    pub(super) deadline: Duration,
    pub(super) budget: Paid,
    pub(super) attempts_in_errors: bool,
    /// The name of the layer, in metrics and events.
    pub(super) name: &'static str,
    /// The seed, and the count of numbers drawn. Seed plus count seeds a generator for each number,
    /// so that there is none to lock. If `None`, the thread's generator is used.
    pub(super) seed: Option<(u64, Arc<AtomicU64>)>,
}

/// The budget of a layer's retries.
#[derive(Debug, Clone)]
pub(super) enum Paid {
    Free,
    By(Budget),
    ByHost(BudgetRegistry),
}

/// The progress of one request.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryState {
    pub(super) attempts: Attempts,
    pub(super) last_wait: Duration,
    /// Whether a request that the server did not process was sent again.
    pub(super) has_resent: bool,
    /// `None` until an attempt returns `Pending`. No time has passed until then, and the clock is
    /// read while there is nothing else to do.
    pub(super) started: Option<Instant>,
}

// ===== impl Settings =====

impl Default for Settings {
    fn default() -> Self {
        Self {
            backoff: Backoff::default(),
            attempts: 5,
            max_backoff: Duration::from_secs(60),
            deadline: Duration::from_secs(5 * 60),
            budget: Paid::By(Budget::default()),
            attempts_in_errors: false,
            name: crate::telemetry::DEFAULT_NAME,
            seed: None,
        }
    }
}

impl Settings {
    /// Returns the wait before the next attempt, if there is one, which must start within `left`.
    ///
    /// All bounds apply before jitter, since clients that are cut to a bound return together. A
    /// hint above a bound ends the attempts; with a `max_backoff` of 60 s, one of 60 s waits
    /// between 60 and 61 s. A backoff that exceeds the deadline ends the attempts.
    pub(super) fn wait(
        &self,
        progress: &RetryState,
        hint: Option<Duration>,
        max_backoff: Duration,
        left: Duration,
    ) -> Option<Duration> {
        match hint {
            _ if progress.attempts.attempts() >= self.attempts => None,
            Some(hint) if hint > max_backoff.min(left) => None,
            Some(hint) if self.follows(hint) => Some(above_hint(hint, self.random())),
            // A hint near zero does not spread the clients, so the backoff is added.
            hint => {
                let retry = progress.attempts.attempts().saturating_sub(1);
                let backoff = self.backoff.at_most(self.max_backoff);
                let wait = backoff.wait(retry, progress.last_wait, self.random());
                let wait = wait.saturating_add(hint.unwrap_or_default());
                (wait <= left).then_some(wait)
            }
        }
    }

    /// Counts a retry that is made.
    #[cfg(feature = "metrics")]
    pub(super) fn count(&self, cause: &'static str, delay: Duration) {
        crate::telemetry::count!(RETRIES, "name" => self.name, "cause" => cause);
        let metric = crate::telemetry::metrics::RETRY_DELAY;
        ::metrics::histogram!(metric, "name" => self.name).record(delay);
    }

    /// Returns whether a hint is long enough to be the wait. One near zero asks for no wait.
    pub(super) fn follows(&self, hint: Duration) -> bool {
        !hint.is_zero() && hint >= self.backoff.base() / 10
    }

    fn random(&self) -> u64 {
        let Some((seed, drawn)) = &self.seed else {
            return rand::random();
        };
        // Relaxed: an independent counter.
        let count = drawn.fetch_add(1, Ordering::Relaxed);
        SmallRng::seed_from_u64(seed.wrapping_add(count)).next_u64()
    }
}

// ===== impl Paid =====

impl Paid {
    /// Calls `f` with the budget of the host, if there is one.
    #[inline]
    pub(super) fn with<'a, T>(
        &self,
        host: impl FnOnce() -> Option<&'a str>,
        f: impl FnOnce(&Budget) -> T,
    ) -> Option<T> {
        match self {
            Self::Free => None,
            Self::By(budget) => Some(f(budget)),
            Self::ByHost(budgets) => Some(f(&budgets.of_host(host()))),
        }
    }
}
