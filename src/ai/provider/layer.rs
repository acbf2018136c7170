use std::sync::Arc;

use tower_layer::Layer;

use super::{
    ByLength, Charge, Provider, ProviderLimiter, ProviderService, ask::ByEstimate,
    future::WithReservation,
};
use crate::ai::estimate::LearnedRatios;
use crate::limit::{
    Clock, UniformPriority,
    engine::{Limited, WaitLimits},
    rejection::{AsError, OnRejected, RejectedRequest},
};
use crate::telemetry::LimitTelemetry;

/// Layer that enforces all limits of a provider. See the [module docs](crate::provider) for an
/// example.
#[derive(Clone)]
#[must_use]
pub struct ProviderLayer<E = ByLength, F = AsError, P = UniformPriority> {
    limiter: ProviderLimiter,
    limits: WaitLimits,
    cost: ByEstimate<E, P>,
    refusal: F,
}

// ===== impl ProviderLayer =====

impl ProviderLayer {
    /// Creates a layer with a new limiter for `provider`.
    pub fn new(provider: Provider) -> Self {
        ProviderLimiter::new(provider).into()
    }

    /// Creates a layer with a new limiter that reads `clock`.
    pub fn with_clock(provider: Provider, clock: Clock) -> Self {
        ProviderLimiter::with_clock(provider, clock).into()
    }
}

impl<E, F, P> ProviderLayer<E, F, P> {
    /// Sets the token estimate: a closure with an explicit type, such as
    /// `|request: &reqwest::Request|`, or any other [`Estimate`](super::Estimate). The default is
    /// [`ByLength`].
    pub fn estimate<E2>(self, estimate: E2) -> ProviderLayer<E2, F, P> {
        self.map(|_, refusal, priority| (estimate, refusal, priority))
    }

    /// Sets the priority of a request that waits: a closure, or any other
    /// [`Prioritize`](crate::Prioritize). Requests with a higher priority start first; see
    /// [`Priority`](crate::Priority). By default all have the same.
    ///
    /// ```
    /// use tower_throttle::{Priority, provider::{Provider, ProviderLayer}};
    ///
    /// // Users pass a batch job on the same key.
    /// let layer = ProviderLayer::new(Provider::OPENAI_TIER_1)
    ///     .priority(|request: &reqwest::Request| match request.headers().get("x-batch") {
    ///         Some(_) => Priority::Low,
    ///         None => Priority::High,
    ///     });
    /// # let _ = layer;
    /// ```
    pub fn priority<P2>(self, priority: P2) -> ProviderLayer<E, F, P2> {
        self.map(|estimate, refusal, _| (estimate, refusal, priority))
    }

    /// Shares the limits with all processes that use the same `name` in the same Redis or Valkey;
    /// see [`ProviderLimiter::shared`]. The type stays the same.
    ///
    /// ```
    /// use tower_throttle::{Redis, provider::{Provider, ProviderLayer}};
    ///
    /// # fn layer(redis: Option<Redis>) -> impl Sized {
    /// let layer = ProviderLayer::new(Provider::OPENAI_TIER_1);
    /// match &redis {
    ///     Some(redis) => layer.shared(redis, "openai"),
    ///     None => layer,
    /// }
    /// # }
    /// ```
    #[cfg(feature = "redis")]
    pub fn shared(mut self, redis: &crate::limit::store::redis::Redis, name: &str) -> Self {
        self.limiter = self.limiter.shared(redis, name);
        self
    }

    /// Sets whether to [learn](crate::provider#learning) the limits from responses. Applies to
    /// everything that shares the limiter. The default is `true`.
    ///
    /// If no header reports a limit, only the number of requests per minute is learned: the
    /// configured shape and [accounting](super::Accounting) stay. A window then never uses the
    /// burst of a provider's bucket, which costs at most one period.
    pub fn learn(mut self, learns: bool) -> Self {
        self.limiter = self.limiter.learn(learns);
        self
    }

    /// Sets whether to learn the error of estimates for each model, and to reserve the mean of the
    /// usage plus twice its mean deviation. The default is `false`. Clones of this layer share what
    /// was learned; calling this resets it.
    ///
    /// Use it only if tokens count at [completion](super::Counting::Completion): otherwise the
    /// provider counts the requested tokens, whatever the usage.
    pub fn learn_estimates(mut self, learns: bool) -> Self {
        let is_of_use = learns && self.limiter.0.lock().settles_in_time();
        self.cost.learned = is_of_use.then(|| Arc::new(LearnedRatios::default()));
        self
    }

    /// Sets what a request costs if its response does not arrive completely: if it is dropped,
    /// times out, or its connection breaks. Applies to everything that shares the limiter. The
    /// default is [`Charge::Reserved`].
    ///
    /// ```
    /// use tower_throttle::provider::{Charge, Provider, ProviderLayer};
    ///
    /// let layer = ProviderLayer::new(Provider::ANTHROPIC_BUILD).on_drop(Charge::Reported);
    /// # let _ = layer;
    /// ```
    pub fn on_drop(mut self, charge: Charge) -> Self {
        self.limiter = self.limiter.on_drop(charge);
        self
    }

    crate::limit::engine::wait_limits! {
        /// Sets the longest wait of a request, plus up to 10 ms of timer lateness. A request that
        /// would wait longer is rejected at once. The default is no limit.
        max_wait;
        /// Sets how many requests of a priority may wait for the limiter. The default is no limit.
        max_waiting;
        /// Sets the name of this limit: [`Rejected::name`](crate::Rejected::name) returns it, as a
        /// label for metrics and logs. By default it has none.
        name;
    }

    /// Calls `hook` for each request that is rejected.
    ///
    /// The hook sees the rejection, the limit's [`name`](Self::name) and the head of the request.
    /// It runs in the task of the request, under no lock. Requests have to implement
    /// [`RequestHead`](crate::RequestHead). A second hook is called after the first.
    ///
    /// ```
    /// use tower_throttle::provider::{Provider, ProviderLayer};
    ///
    /// let layer = ProviderLayer::new(Provider::OPENAI_TIER_1).name("openai");
    /// let layer = layer.on_rejected(|rejected| {
    ///     println!("{}: {}", rejected.request.path(), rejected.rejected);
    /// });
    /// # let _ = layer;
    /// ```
    pub fn on_rejected(
        self,
        hook: impl Fn(&RejectedRequest<'_>) + Send + Sync + 'static,
    ) -> ProviderLayer<E, OnRejected<F>, P> {
        self.map(|estimate, refusal, priority| (estimate, OnRejected::new(refusal, hook), priority))
    }

    /// Returns the limiter, which all services of this layer share. Its
    /// [`usage`](ProviderLimiter::usage) can be polled.
    #[must_use]
    pub fn limiter(&self) -> &ProviderLimiter {
        &self.limiter
    }

    fn map<E2, F2, P2>(
        self,
        map: impl FnOnce(E, F, P) -> (E2, F2, P2),
    ) -> ProviderLayer<E2, F2, P2> {
        let cost = self.cost;
        let (estimate, refusal, priority) = map(cost.estimate, self.refusal, cost.priority);
        ProviderLayer {
            limiter: self.limiter,
            limits: self.limits,
            cost: ByEstimate {
                estimate,
                learned: cost.learned,
                priority,
            },
            refusal,
        }
    }
}

impl From<ProviderLimiter> for ProviderLayer {
    fn from(limiter: ProviderLimiter) -> Self {
        Self {
            limiter,
            limits: WaitLimits::NONE,
            cost: ByEstimate {
                estimate: ByLength::default(),
                learned: None,
                priority: UniformPriority,
            },
            refusal: AsError,
        }
    }
}

crate::macros::debug!(impl<E, F, P> Debug for ProviderLayer<E, F, P> |self| {
    limiter,
    learns_estimates: self.cost.learned.is_some(),
    ..
});

impl<S, E: Clone, F: Clone, P: Clone> Layer<S> for ProviderLayer<E, F, P> {
    type Service = ProviderService<S, E, F, P>;

    fn layer(&self, inner: S) -> Self::Service {
        ProviderService(Limited {
            inner,
            gate: self.limiter.0.clone(),
            limits: self.limits,
            cost: self.cost.clone(),
            refusal: self.refusal.clone(),
            hold: WithReservation,
            telemetry: LimitTelemetry::new("provider", self.limits.name),
        })
    }
}
