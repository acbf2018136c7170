use std::{any::type_name, fmt, sync::Arc, time::Duration};

use tower_layer::Layer;

use super::{
    Backoff, Budget, BudgetRegistry, OutcomePolicy, RetryAfterBackoff,
    settings::{Paid, Settings},
};

/// Repeats requests that failed for a while only, when the server says so, or else after a growing wait.
///
/// See the [module docs](crate::retry) for an example, the defaults and the order of layers.
#[doc(alias("429", "throttle", "exponential backoff"))]
#[derive(Clone)]
#[must_use]
pub struct RetryAfterBackoffLayer<P = OutcomePolicy> {
    settings: Arc<Settings>,
    policy: P,
}

// ===== impl RetryAfterBackoffLayer =====

impl RetryAfterBackoffLayer {
    /// A layer with a budget of its own, and the defaults for everything.
    pub fn new() -> Self {
        Self {
            settings: Arc::default(),
            policy: OutcomePolicy::new(),
        }
    }
}

impl<C> RetryAfterBackoffLayer<OutcomePolicy<C>> {
    /// Sets what returns the outcome of an attempt. Default: [`HttpClassifier`](crate::HttpClassifier).
    pub fn classify<C2>(self, classifier: C2) -> RetryAfterBackoffLayer<OutcomePolicy<C2>> {
        RetryAfterBackoffLayer {
            settings: self.settings,
            policy: self.policy.classify(classifier),
        }
    }

    /// Retries every method as it would GET, as for completions of a language model.
    ///
    /// See [`OutcomePolicy::retry_non_idempotent`] for what that risks.
    pub fn retry_non_idempotent(mut self) -> Self {
        self.policy = self.policy.retry_non_idempotent();
        self
    }

    /// Waits while a circuit further in is open, instead of failing at once. Use it if there is no fallback.
    ///
    /// See [`OutcomePolicy::wait_for_circuit`].
    pub fn wait_for_circuit(mut self) -> Self {
        self.policy = self.policy.wait_for_circuit();
        self
    }
}

impl<P> RetryAfterBackoffLayer<P> {
    /// Sets what decides which requests are sent again. Default: [`OutcomePolicy`].
    pub fn policy<P2>(self, policy: P2) -> RetryAfterBackoffLayer<P2> {
        RetryAfterBackoffLayer {
            settings: self.settings,
            policy,
        }
    }

    /// How often a request is sent at most, the first time included. 5 unless told otherwise; 0 counts as 1.
    pub fn attempts(self, attempts: u32) -> Self {
        self.set(|settings| settings.attempts = attempts)
    }

    /// The longest wait between two attempts. 60 s unless told otherwise.
    ///
    /// Where the server asks for a longer one, the caller gets the response at once.
    pub fn max_backoff(self, max_backoff: Duration) -> Self {
        self.set(|settings| settings.max_backoff = max_backoff)
    }

    /// How long after the first attempt began the last one may begin. 5 minutes unless told otherwise.
    ///
    /// It counts from when the request is first polled. A wait that would pass it is not begun: the caller gets the outcome
    /// at once. Where the inner service is not ready in time for an attempt that was waited for, the caller gets
    /// [`DeadlinePassed`](crate::retry::future::DeadlinePassed). An attempt that has begun is not cut
    /// short; for that put a timeout inside, for each attempt, or outside, for all of them.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.set(|settings| settings.deadline = deadline)
    }

    /// The waits where the server did not say how long. From half a second to 30 s unless told otherwise.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.set(|settings| settings.backoff = backoff)
    }

    /// The budget that retries are paid from, to share it with other layers. One of its own unless told otherwise.
    pub fn budget(self, budget: Budget) -> Self {
        self.set(|settings| settings.budget = Paid::By(budget))
    }

    /// Pays for retries from the budget of the host that the request goes to, so that one that is down leaves nothing but its own
    /// requests without retries.
    ///
    /// Which host that is the policy [says](super::Policy::host): the request's
    /// [authority](crate::RequestHead::authority) unless it is one of your own. A success takes a read lock in this mode.
    pub fn budget_by_host(self, budgets: BudgetRegistry) -> Self {
        self.set(|settings| settings.budget = Paid::ByHost(budgets))
    }

    /// Repeats as long as attempts and deadline allow, however many requests fail.
    pub fn no_budget(self) -> Self {
        self.set(|settings| settings.budget = Paid::Free)
    }

    /// Makes the waits of this layer repeatable, for tests: the n-th wait that is drawn depends on `seed` and n alone.
    ///
    /// Everything that the layer makes draws from one sequence. Unless told otherwise, each thread draws from a generator
    /// of its own that nobody can foresee.
    pub fn seed(self, seed: u64) -> Self {
        self.set(|settings| settings.seed = Some((seed, Arc::default())))
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

impl Default for RetryAfterBackoffLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<P> fmt::Debug for RetryAfterBackoffLayer<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RetryAfterBackoffLayer")
            .field("settings", &self.settings)
            .field("policy", &type_name::<P>())
            .finish()
    }
}

impl<S, P: Clone> Layer<S> for RetryAfterBackoffLayer<P> {
    type Service = RetryAfterBackoff<S, P>;

    fn layer(&self, inner: S) -> Self::Service {
        RetryAfterBackoff::new(inner, self.settings.clone(), self.policy.clone())
    }
}
