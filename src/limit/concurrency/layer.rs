use tower_layer::Layer;

use super::{
    Adaptive, Concurrency, ConcurrencyLimiter, UniformPriority, UntilHeaders,
    hold::ReportingRelease,
};
use crate::{
    limit::{
        engine::{Limited, UntilBodyEnd, UntilResponse, WaitLimits},
        rejection::AsError,
    },
    telemetry::LimitTelemetry,
};

/// Limits the number of requests in flight. See the [module docs](crate::concurrency) for examples.
#[doc(alias("bulkhead", "semaphore", "load shedding", "backpressure"))]
#[derive(Clone)]
#[must_use]
pub struct ConcurrencyLayer<F = AsError, H = UntilBodyEnd, P = UniformPriority> {
    limiter: ConcurrencyLimiter,
    pub(crate) limits: WaitLimits,
    refusal: F,
    hold: H,
    priority: P,
}

// ===== impl ConcurrencyLayer =====

impl ConcurrencyLayer {
    /// Creates a layer with a limit of `limit` requests in flight.
    ///
    /// A limit of 0 rejects every request with
    /// [`Reason::ExceedsCapacity`](crate::Reason::ExceedsCapacity).
    pub fn new(limit: usize) -> Self {
        ConcurrencyLimiter::new(limit).into()
    }

    /// Creates a layer with an adaptive limit: see [`Adaptive`].
    ///
    /// With one limit per client, each client gets a fixed limit: the adaptive limit's value at
    /// that time.
    pub fn adaptive(adaptive: Adaptive) -> Self {
        ConcurrencyLimiter::adaptive(adaptive).into()
    }
}

impl<F, H, P> ConcurrencyLayer<F, H, P> {
    crate::limit::engine::wait_limits! {
        /// The longest that a request waits. One that has waited for that long is rejected. The
        /// default is no limit, or no wait after [`respond`](Self::respond).
        max_wait;
        /// How many requests of a priority may wait for the limiter if one more of it is to wait
        /// here. The default is no limit.
        max_waiting;
        /// Sets the name of this limit: [`Rejected::name`](crate::Rejected::name) returns it, as a
        /// label for metrics and logs. By default it has none.
        name;
    }

    /// Releases the permit when the response is returned, not at the end of its body.
    ///
    /// This is for services whose responses are not HTTP. An adaptive limit counts every response
    /// as a success then; for HTTP use [`until_headers`](Self::until_headers).
    pub fn until_response(self) -> ConcurrencyLayer<F, UntilResponse, P> {
        self.map(|_, priority| (UntilResponse, priority))
    }

    /// Releases the permit when the response's headers are returned, and does not change the
    /// response's type.
    ///
    /// An adaptive limit reads the status, and measures the time to the headers.
    pub fn until_headers(self) -> ConcurrencyLayer<F, UntilHeaders, P> {
        self.map(|_, priority| (UntilHeaders, priority))
    }

    /// Sets the priority of a request. See the [module docs](crate::concurrency#priorities) for an
    /// example.
    pub fn priority<P2>(self, priority: P2) -> ConcurrencyLayer<F, H, P2> {
        self.map(|hold, _| (hold, priority))
    }

    /// Shares the limit with all processes that use the same `name` in the same Redis or Valkey;
    /// see [`ConcurrencyLimiter::shared`]. The type stays the same.
    #[cfg(feature = "redis")]
    pub fn shared(mut self, redis: &crate::limit::store::redis::Redis, name: &str) -> Self {
        self.limiter = self.limiter.shared(redis, name);
        self
    }

    /// Returns the limiter, which all services of this layer share.
    #[must_use]
    pub fn limiter(&self) -> &ConcurrencyLimiter {
        &self.limiter
    }

    fn map<H2, P2>(self, map: impl FnOnce(H, P) -> (H2, P2)) -> ConcurrencyLayer<F, H2, P2> {
        let (hold, priority) = map(self.hold, self.priority);
        ConcurrencyLayer {
            limiter: self.limiter,
            limits: self.limits,
            refusal: self.refusal,
            hold,
            priority,
        }
    }
}

crate::limit::engine::rejections! {
    ConcurrencyLayer<[F], H, P> { limiter, limits, hold, priority };

    /// Calls `hook` for each request that is rejected.
    ///
    /// The hook sees the rejection, the limit's [`name`](Self::name) and the head of the request.
    /// It runs in the task of the request, under no lock. Requests have to implement
    /// [`RequestHead`](crate::RequestHead).
    ///
    /// Set it last: a layer with a hook has no `respond` methods. A second hook is called after the
    /// first.
    ///
    /// ```
    /// use tower_throttle::ConcurrencyLayer;
    ///
    /// let layer = ConcurrencyLayer::new(50).name("chat").respond().on_rejected(|rejected| {
    ///     println!("{}: {}", rejected.request.path(), rejected.rejected);
    /// });
    /// # let _ = layer;
    /// ```
    on_rejected;

    /// Responds with an HTTP 503 instead of an error, and does not wait unless
    /// [`max_wait`](Self::max_wait) is set; see [`AsResponse`](crate::rejection::AsResponse).
    respond;

    /// Rejects with the response that `respond` returns for the [`Rejected`](crate::Rejected), in
    /// any protocol.
    ///
    /// ```
    /// use http::Response;
    /// use tower_throttle::ConcurrencyLayer;
    ///
    /// let layer = ConcurrencyLayer::new(50)
    ///     .respond_with(|rejected| Response::new(format!("sorry: {rejected}")));
    /// # let _ = layer;
    /// ```
    respond_with;

    /// Rejects with the response that `respond` returns for the head of the request and the
    /// [`Rejected`](crate::Rejected).
    ///
    /// ```
    /// use http::Response;
    /// use tower_throttle::ConcurrencyLayer;
    ///
    /// let layer = ConcurrencyLayer::new(50).respond_with_head(|head, rejected| {
    ///     Response::new(format!("{}: {rejected}", head.path()))
    /// });
    /// # let _ = layer;
    /// ```
    respond_with_head;

    /// Rejects with the response that `refusal` makes, such as [`Text`](crate::rejection::Text).
    /// See [`rejection`](crate::rejection).
    respond_as;
}

impl From<ConcurrencyLimiter> for ConcurrencyLayer {
    fn from(limiter: ConcurrencyLimiter) -> Self {
        Self {
            limiter,
            limits: WaitLimits::NONE,
            refusal: AsError,
            hold: UntilBodyEnd,
            priority: UniformPriority,
        }
    }
}

crate::macros::debug!(impl<F, H, P> Debug for ConcurrencyLayer<F, H, P> |self| { limiter, .. });

impl<S, F: Clone, H: Clone, P: Clone> Layer<S> for ConcurrencyLayer<F, H, P> {
    type Service = Concurrency<S, F, H, P>;

    fn layer(&self, inner: S) -> Self::Service {
        Concurrency(Limited {
            inner,
            gate: self.limiter.0.clone(),
            limits: self.limits,
            cost: self.priority.clone(),
            refusal: self.refusal.clone(),
            hold: ReportingRelease(self.hold.clone()),
            telemetry: LimitTelemetry::new("concurrency", self.limits.name),
        })
    }
}
