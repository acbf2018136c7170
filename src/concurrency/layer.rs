use std::{any::type_name, fmt, time::Duration};

use tower_layer::Layer;

use super::{Concurrency, ConcurrencyLimiter};
use crate::{
    limit::{UntilBodyEnd, UntilResponse},
    refusal::{Fail, Respond, RespondWith},
};

/// Limits how many requests are in flight. See the [module docs](crate::concurrency) for an example.
#[derive(Clone)]
#[must_use]
pub struct ConcurrencyLayer<F = Fail, H = UntilBodyEnd> {
    limiter: ConcurrencyLimiter,
    refusal: F,
    hold: H,
}

// ===== impl ConcurrencyLayer =====

impl ConcurrencyLayer {
    /// A layer with a limiter of its own that lets `limit` requests be in flight.
    ///
    /// A limit of 0 refuses every request, with [`Reason::NeverFits`](crate::Reason::NeverFits).
    pub fn new(limit: usize) -> Self {
        ConcurrencyLimiter::new(limit).into()
    }
}

impl<F, H> ConcurrencyLayer<F, H> {
    /// The longest that a request waits. For everyone who shares the limiter.
    pub fn max_wait(mut self, max_wait: Duration) -> Self {
        self.limiter = self.limiter.max_wait(max_wait);
        self
    }

    /// How many requests may wait. One more is refused at once. For everyone who shares the limiter.
    pub fn max_waiting(mut self, max_waiting: usize) -> Self {
        self.limiter = self.limiter.max_waiting(max_waiting);
        self
    }

    /// Lets a request count until its response is there, not until the end of the response's body.
    ///
    /// For services whose responses are not HTTP, or where only the time to the headers is to count.
    pub fn until_response(self) -> ConcurrencyLayer<F, UntilResponse> {
        ConcurrencyLayer {
            limiter: self.limiter,
            refusal: self.refusal,
            hold: UntilResponse,
        }
    }

    /// Refuses with an HTTP 503 instead of an error; see [`Respond`].
    pub fn respond(self) -> ConcurrencyLayer<Respond, H> {
        self.refuse(Respond)
    }

    /// Refuses with the response that `respond` makes of the [`Rejected`](crate::Rejected).
    pub fn respond_with<R>(self, respond: R) -> ConcurrencyLayer<RespondWith<R>, H> {
        self.refuse(RespondWith(respond))
    }

    /// Refuses in the form of `refusal`, such as [`Text`](crate::refusal::Text); see [`refusal`](crate::refusal).
    pub fn respond_as<R>(self, refusal: R) -> ConcurrencyLayer<R, H> {
        self.refuse(refusal)
    }

    /// The limiter that everything made by this layer shares.
    #[must_use]
    pub fn limiter(&self) -> &ConcurrencyLimiter {
        &self.limiter
    }

    fn refuse<F2>(self, refusal: F2) -> ConcurrencyLayer<F2, H> {
        ConcurrencyLayer {
            limiter: self.limiter,
            refusal,
            hold: self.hold,
        }
    }
}

impl From<ConcurrencyLimiter> for ConcurrencyLayer {
    fn from(limiter: ConcurrencyLimiter) -> Self {
        Self {
            limiter,
            refusal: Fail,
            hold: UntilBodyEnd,
        }
    }
}

impl<F, H> fmt::Debug for ConcurrencyLayer<F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConcurrencyLayer")
            .field("limiter", &self.limiter)
            .field("refusal", &type_name::<F>())
            .field("hold", &type_name::<H>())
            .finish()
    }
}

impl<S, F: Clone, H: Copy> Layer<S> for ConcurrencyLayer<F, H> {
    type Service = Concurrency<S, F, H>;

    fn layer(&self, inner: S) -> Self::Service {
        Concurrency::new(inner, &self.limiter, self.refusal.clone(), self.hold)
    }
}
