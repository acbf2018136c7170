use std::{any::type_name, fmt};

use tower_layer::Layer;

use super::{Adaptive, AllAlike, Concurrency, ConcurrencyLimiter, UntilHeaders};
use crate::limit::{
    engine::{UntilBodyEnd, UntilResponse},
    rejection::{AsError, AsResponse, AsResponseWith},
};

/// Limits how many requests are in flight. See the [module docs](crate::concurrency) for an example.
#[doc(alias("bulkhead", "semaphore", "load shedding", "backpressure"))]
#[derive(Clone)]
#[must_use]
pub struct ConcurrencyLayer<F = AsError, H = UntilBodyEnd, P = AllAlike> {
    limiter: ConcurrencyLimiter,
    refusal: F,
    hold: H,
    priority: P,
}

// ===== impl ConcurrencyLayer =====

impl ConcurrencyLayer {
    /// A layer with a limiter of its own that lets `limit` requests be in flight.
    ///
    /// A limit of 0 refuses every request, with [`Reason::ExceedsCapacity`](crate::Reason::ExceedsCapacity).
    pub fn new(limit: usize) -> Self {
        ConcurrencyLimiter::new(limit).into()
    }

    /// A layer with a limiter of its own that finds its limit by itself: see [`Adaptive`]. It is one for all: where it is made one
    /// for each caller, each has the limit of that moment, which is fixed then.
    pub fn adaptive(adaptive: Adaptive) -> Self {
        ConcurrencyLimiter::adaptive(adaptive).into()
    }
}

impl<F, H, P> ConcurrencyLayer<F, H, P> {
    crate::limit::engine::bounds!(limiter.0.bounds; "Of each priority as many.");

    /// Lets a request count until its response is there, not until the end of the response's body.
    ///
    /// For services whose responses are not HTTP.
    ///
    /// Under an adaptive limit, every response is an answer then: for HTTP there is [`until_headers`](Self::until_headers).
    pub fn until_response(self) -> ConcurrencyLayer<F, UntilResponse, P> {
        self.hold(UntilResponse)
    }

    /// Lets a request count until the headers of its response are there, and leaves the response's type alone.
    ///
    /// An adaptive limit looks at the status, and measures to the headers.
    pub fn until_headers(self) -> ConcurrencyLayer<F, UntilHeaders, P> {
        self.hold(UntilHeaders)
    }

    /// Says which priority a request has. See the [module docs](crate::concurrency#priorities) for an example.
    pub fn priority<P2>(self, priority: P2) -> ConcurrencyLayer<F, H, P2> {
        ConcurrencyLayer {
            limiter: self.limiter,
            refusal: self.refusal,
            hold: self.hold,
            priority,
        }
    }

    /// Refuses with an HTTP 503 instead of an error; see [`AsResponse`].
    pub fn respond(self) -> ConcurrencyLayer<AsResponse, H, P> {
        self.refuse(AsResponse)
    }

    /// Refuses with the response that `respond` makes of the [`Rejected`](crate::Rejected).
    pub fn respond_with<R>(self, respond: R) -> ConcurrencyLayer<AsResponseWith<R>, H, P> {
        self.refuse(AsResponseWith(respond))
    }

    /// Refuses in the form of `refusal`, such as [`Text`](crate::rejection::Text); see [`rejection`](crate::rejection).
    pub fn respond_as<R>(self, refusal: R) -> ConcurrencyLayer<R, H, P> {
        self.refuse(refusal)
    }

    /// The limiter that everything made by this layer shares.
    #[must_use]
    pub fn limiter(&self) -> &ConcurrencyLimiter {
        &self.limiter
    }

    fn hold<H2>(self, hold: H2) -> ConcurrencyLayer<F, H2, P> {
        ConcurrencyLayer {
            limiter: self.limiter,
            refusal: self.refusal,
            hold,
            priority: self.priority,
        }
    }

    fn refuse<F2>(self, refusal: F2) -> ConcurrencyLayer<F2, H, P> {
        ConcurrencyLayer {
            limiter: self.limiter,
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
            refusal: AsError,
            hold: UntilBodyEnd,
            priority: AllAlike,
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
            self.refusal.clone(),
            self.hold.clone(),
            priority,
        )
    }
}
