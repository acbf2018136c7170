use std::{any::type_name, fmt};

use tower_layer::Layer;

use super::{Adaptive, Concurrency, ConcurrencyLimiter, UniformPriority, UntilHeaders};
use crate::limit::{
    engine::{UntilBodyEnd, UntilResponse, WaitLimits},
    rejection::{AsError, AsResponse, AsResponseWith},
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
        /// The longest that a request waits. One that has waited for that long is rejected. The default is
        /// no limit, or no wait after [`respond`](Self::respond).
        max_wait;
        /// How many requests of a priority may wait for the limiter if one more of it is to wait here. The
        /// default is no limit.
        max_waiting;
    }

    /// Releases the permit when the response is returned, not at the end of its body.
    ///
    /// This is for services whose responses are not HTTP. An adaptive limit counts every response
    /// as a success then; for HTTP use [`until_headers`](Self::until_headers).
    pub fn until_response(self) -> ConcurrencyLayer<F, UntilResponse, P> {
        self.hold(UntilResponse)
    }

    /// Releases the permit when the response's headers are returned, and does not change the
    /// response's type.
    ///
    /// An adaptive limit reads the status, and measures the time to the headers.
    pub fn until_headers(self) -> ConcurrencyLayer<F, UntilHeaders, P> {
        self.hold(UntilHeaders)
    }

    /// Sets the priority of a request. See the [module docs](crate::concurrency#priorities) for an
    /// example.
    pub fn priority<P2>(self, priority: P2) -> ConcurrencyLayer<F, H, P2> {
        ConcurrencyLayer {
            limiter: self.limiter,
            limits: self.limits,
            refusal: self.refusal,
            hold: self.hold,
            priority,
        }
    }

    /// Responds with an HTTP 503 instead of an error, and does not wait unless
    /// [`max_wait`](Self::max_wait) is set; see [`AsResponse`].
    pub fn respond(self) -> ConcurrencyLayer<AsResponse, H, P> {
        self.refuse(AsResponse)
    }

    /// Rejects with the response that `respond` returns for a [`Rejected`](crate::Rejected).
    pub fn respond_with<R>(self, respond: R) -> ConcurrencyLayer<AsResponseWith<R>, H, P> {
        self.refuse(AsResponseWith(respond))
    }

    /// Rejects with the response that `refusal` makes, such as [`Text`](crate::rejection::Text).
    /// See [`rejection`](crate::rejection).
    pub fn respond_as<R>(self, refusal: R) -> ConcurrencyLayer<R, H, P> {
        self.refuse(refusal)
    }

    /// Returns the limiter, which all services of this layer share.
    #[must_use]
    pub fn limiter(&self) -> &ConcurrencyLimiter {
        &self.limiter
    }

    fn hold<H2>(self, hold: H2) -> ConcurrencyLayer<F, H2, P> {
        ConcurrencyLayer {
            limiter: self.limiter,
            limits: self.limits,
            refusal: self.refusal,
            hold,
            priority: self.priority,
        }
    }

    fn refuse<F2>(self, refusal: F2) -> ConcurrencyLayer<F2, H, P> {
        ConcurrencyLayer {
            limiter: self.limiter,
            limits: self.limits,
            refusal,
            hold: self.hold,
            priority: self.priority,
        }
    }
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

impl<F, H, P> fmt::Debug for ConcurrencyLayer<F, H, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLayer")
            .field("limiter", &self.limiter)
            .field("refusal", &type_name::<F>())
            .field("hold", &type_name::<H>())
            .field("priority", &type_name::<P>())
            .finish()
    }
}

impl<S, F: Clone, H: Clone, P: Clone> Layer<S> for ConcurrencyLayer<F, H, P> {
    type Service = Concurrency<S, F, H, P>;

    fn layer(&self, inner: S) -> Self::Service {
        let priority = self.priority.clone();
        Concurrency::new(
            inner,
            &self.limiter,
            self.limits,
            self.refusal.clone(),
            self.hold.clone(),
            priority,
        )
    }
}
