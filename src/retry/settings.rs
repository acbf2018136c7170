//! The rules of a layer, and the one place where a server's wait, our backoff and the bounds meet.

use std::{sync::Arc, time::Duration};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::Instant;

use super::{Attempts, Backoff, Budget, BudgetRegistry, budget::Withdrawal};
use crate::{
    backoff::above_hint,
    error::Outcome,
    sync::{AtomicU64, Ordering},
};

/// A deadline further off than this counts as this: an instant can't be as far off as a duration.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) backoff: Backoff,
    pub(super) attempts: u32,
    pub(super) max_backoff: Duration,
    pub(super) deadline: Duration,
    pub(super) budget: Paid,
    /// A seed, and how many numbers were drawn from it: each count is a seed, so that there is no
    /// generator to lock. Without one the thread's generator is used.
    pub(super) seed: Option<(u64, Arc<AtomicU64>)>,
}

/// What pays for the retries of a layer.
#[derive(Debug, Clone)]
pub(super) enum Paid {
    Free,
    By(Budget),
    ByHost(BudgetRegistry),
}

/// How far one request has come.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryState {
    pub(super) attempts: Attempts,
    pub(super) last_wait: Duration,
    /// Unknown until the first attempt makes the caller wait. Until then no time has passed, and reading the clock is
    /// left to a moment in which nothing else is to be done.
    started: Option<Instant>,
}

/// A retry that has been decided: sleep this long, and it is paid for.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) wait: Duration,
    pub(super) withdrawal: Withdrawal,
    /// When the attempt must have begun.
    pub(super) deadline: Instant,
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
            seed: None,
        }
    }
}

impl Settings {
    /// Whether, and after which wait, there is another attempt after one that failed at `now`.
    ///
    /// A hint is a promise to keep: the wait is never below it, and a hint that does not fit is not shortened but ends
    /// the attempts. A wait of our own choice is cut to the ceiling, and ends the attempts where it passes the deadline.
    ///
    /// With a ceiling of 60 s: a hint of 59 s waits between 59 and 60 s, one of 61 s does not wait at all.
    pub(super) fn plan(
        &self,
        progress: &RetryState,
        hint: Option<Duration>,
        budget: Option<(&Budget, Option<Outcome>)>,
        now: Instant,
    ) -> Option<Plan> {
        if progress.attempts.attempts() >= self.attempts {
            return None;
        }
        let started = progress.started.unwrap_or(now);
        let elapsed = now.saturating_duration_since(started);
        let left = self.deadline.checked_sub(elapsed)?;
        let wait = match hint {
            Some(hint) if hint > self.max_backoff.min(left) => return None,
            None => self.own_wait(progress).min(self.max_backoff),
            // "At once", or nearly so, says nothing of how to spread those who were told so.
            Some(hint) if hint < self.backoff.base() / 10 => {
                self.own_wait(progress).min(self.max_backoff).max(hint)
            }
            Some(hint) => above_hint(hint, self.random()).min(self.max_backoff.min(left)),
        };
        if wait > left {
            return None;
        }
        let withdrawal = match budget {
            Some((budget, outcome)) if hint.is_none() => budget.pay(outcome, now)?,
            _ => Withdrawal::free(),
        };
        Some(Plan {
            wait,
            withdrawal,
            deadline: now + left.min(FAR),
        })
    }

    fn random(&self) -> u64 {
        let Some((seed, drawn)) = &self.seed else {
            return rand::random();
        };
        // Relaxed: a lone counter, nothing is read through it.
        let count = drawn.fetch_add(1, Ordering::Relaxed);
        SmallRng::seed_from_u64(seed.wrapping_add(count)).next_u64()
    }

    fn own_wait(&self, progress: &RetryState) -> Duration {
        let retry = progress.attempts.attempts().saturating_sub(1);
        self.backoff.wait(retry, progress.last_wait, self.random())
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

// ===== impl RetryState =====

impl RetryState {
    pub(super) const fn starting() -> Self {
        Self {
            attempts: Attempts::FIRST,
            last_wait: Duration::ZERO,
            started: None,
        }
    }

    /// The attempt under way makes the caller wait.
    pub(super) fn pending(&mut self) {
        self.started.get_or_insert_with(Instant::now);
    }

    pub(super) fn waited(&mut self, wait: Duration) {
        self.waited_for_another(wait);
        self.attempts.add();
    }

    /// What was waited for is another request's attempt.
    pub(super) fn waited_for_another(&mut self, wait: Duration) {
        self.pending();
        self.attempts.wait(wait);
        self.last_wait = wait;
    }
}
