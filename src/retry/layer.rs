use std::{sync::Arc, time::Duration};

use super::{
    Backoff, Budget, BudgetRegistry, OutcomePolicy, RetryAfterBackoff,
    settings::{Paid, Settings},
};
use crate::error::{ClassifierFn, HeadResult, Outcome};

/// Retries requests after the wait that the server asks for, or else with exponential backoff.
///
/// See the [module docs](crate::retry) for an example, the defaults and the order of layers.
#[doc(alias("429", "throttle", "exponential backoff"))]
#[derive(Clone)]
#[must_use]
pub struct RetryAfterBackoffLayer<P = OutcomePolicy> {
    pub(super) settings: Arc<Settings>,
    pub(super) policy: P,
}

// ===== impl RetryAfterBackoffLayer =====

impl RetryAfterBackoffLayer {
    /// Creates a layer with the defaults and a budget of its own.
    pub fn new() -> Self {
        Self {
            settings: Arc::default(),
            policy: OutcomePolicy::new(),
        }
    }
}

impl<C> RetryAfterBackoffLayer<OutcomePolicy<C>> {
    /// Sets the classifier, which returns the outcome of an attempt. Default:
    /// [`HttpClassifier`](crate::HttpClassifier).
    pub fn classify<C2>(self, classifier: C2) -> RetryAfterBackoffLayer<OutcomePolicy<C2>> {
        RetryAfterBackoffLayer {
            settings: self.settings,
            policy: self.policy.classify(classifier),
        }
    }

    /// Sets the classifier to a closure on the head of an HTTP response.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::{RetryAfterBackoffLayer, Outcome};
    ///
    /// let layer = RetryAfterBackoffLayer::new().classify_with(|result| match result {
    ///     Ok(response) if response.headers().contains_key("x-maintenance") => {
    ///         Some(Outcome::Overloaded)
    ///     }
    ///     result => Outcome::of(result),
    /// });
    /// # let _ = layer;
    /// ```
    pub fn classify_with(
        self,
        classifier: impl Fn(HeadResult<'_, '_>) -> Option<Outcome> + Send + Sync + 'static,
    ) -> RetryAfterBackoffLayer<OutcomePolicy<ClassifierFn>> {
        self.classify(ClassifierFn::new(classifier))
    }

    /// Retries every method like GET, as for completions of a language model.
    ///
    /// See [`OutcomePolicy::retry_non_idempotent`] for the risk.
    pub fn retry_non_idempotent(mut self) -> Self {
        self.policy = self.policy.retry_non_idempotent();
        self
    }

    /// Waits while an inner circuit breaker is open, instead of failing at once. Use it if there is
    /// no fallback.
    ///
    /// See [`OutcomePolicy::wait_for_circuit`].
    pub fn wait_for_circuit(mut self) -> Self {
        self.policy = self.policy.wait_for_circuit();
        self
    }
}

impl<P> RetryAfterBackoffLayer<P> {
    /// Sets the policy, which decides whether a request is sent again. Default: [`OutcomePolicy`].
    pub fn policy<P2>(self, policy: P2) -> RetryAfterBackoffLayer<P2> {
        RetryAfterBackoffLayer {
            settings: self.settings,
            policy,
        }
    }

    /// Sets the maximum number of attempts, including the first. Default: 5. 0 counts as 1.
    pub fn attempts(self, attempts: u32) -> Self {
        self.set(|settings| settings.attempts = attempts)
    }

    /// Sets the longest wait between two attempts. Default: 60 s.
    ///
    /// If the server asks for a longer one, its response is returned at once. The jitter that is
    /// added to the server's wait, at most a second, may exceed it.
    pub fn max_backoff(self, max_backoff: Duration) -> Self {
        self.set(|settings| settings.max_backoff = max_backoff)
    }

    /// Sets the time from the first attempt within which the last attempt must start. Default: 5
    /// minutes.
    ///
    /// It starts when the request is first polled. If a wait would exceed it, the outcome is
    /// returned at once. As with [`max_backoff`](Self::max_backoff), jitter may exceed it. If the
    /// inner service is not ready in time for an attempt after a wait, the error is
    /// [`DeadlinePassed`](crate::retry::future::DeadlinePassed). An attempt that has started is not
    /// cancelled; use a timeout inside of this layer for each attempt, or outside for all of them.
    pub fn deadline(self, deadline: Duration) -> Self {
        self.set(|settings| settings.deadline = deadline)
    }

    /// Sets the waits if the server asks for none. Default: from 0.5 s to 30 s.
    pub fn backoff(self, backoff: Backoff) -> Self {
        self.set(|settings| settings.backoff = backoff)
    }

    /// Sets the retry budget, to share it with other layers. Default: a budget of its own.
    pub fn budget(self, budget: Budget) -> Self {
        self.set(|settings| settings.budget = Paid::By(budget))
    }

    /// Uses one retry budget per host, so that a host that is down uses up only its own.
    ///
    /// [`Policy::host`](super::Policy::host) returns the host: the request's
    /// [authority](crate::RequestHead::authority) by default. A success takes a read lock in this
    /// mode.
    pub fn budget_by_host(self, budgets: BudgetRegistry) -> Self {
        self.set(|settings| settings.budget = Paid::ByHost(budgets))
    }

    /// Disables the retry budget: only the attempts and the deadline limit retries.
    pub fn no_budget(self) -> Self {
        self.set(|settings| settings.budget = Paid::Free)
    }

    /// Puts the number of attempts into the errors of this layer, for
    /// [`Attempts::of_error`](super::Attempts::of_error). Default: errors are returned unchanged.
    ///
    /// Each error is then wrapped, also after one attempt. It displays as before, and is the
    /// [`source`](std::error::Error::source) of the wrapper: use that, or functions such as
    /// [`Rejected::of`](crate::Rejected::of), instead of `downcast_ref` on the error itself.
    pub fn attempts_in_errors(self) -> Self {
        self.set(|settings| settings.attempts_in_errors = true)
    }

    /// Makes the waits of this layer reproducible, for tests: the n-th random wait depends only on
    /// `seed` and n.
    ///
    /// All services of the layer share one sequence. By default, the waits come from the thread's
    /// random number generator.
    pub fn seed(self, seed: u64) -> Self {
        self.set(|settings| settings.seed = Some((seed, Arc::default())))
    }

    /// Sets the name of this layer, as a label for metrics and events. Default: `default`.
    pub fn name(self, name: &'static str) -> Self {
        self.set(|settings| settings.name = name)
    }

    fn set(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }
}

crate::macros::default!(RetryAfterBackoffLayer);

crate::macros::debug!(impl<P> Debug for RetryAfterBackoffLayer<P> |self| { settings, .. });

crate::macros::layer!(impl<P: Clone> Layer for RetryAfterBackoffLayer<P> => RetryAfterBackoff);
