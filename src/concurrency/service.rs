use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    ConcurrencyLimiter,
    future::ResponseFuture,
    slots::{Permit, Slots},
};
use crate::{
    cost::One,
    limit::{Hold, Limited, UntilBodyEnd},
    refusal::{Fail, Refusal},
};

/// A service with a limit on the requests in flight. See the [module docs](crate::concurrency) for an example.
///
/// A clone shares the limit.
#[derive(Clone)]
pub struct Concurrency<S, F = Fail, H = UntilBodyEnd>(Limited<S, Arc<Slots>, One, F, H>);

// ===== impl Concurrency =====

impl<S, F, H> Concurrency<S, F, H> {
    pub(super) fn new(inner: S, limiter: &ConcurrencyLimiter, refusal: F, hold: H) -> Self {
        Self(Limited {
            inner,
            gate: limiter.0.clone(),
            cost: One,
            refusal,
            hold,
        })
    }

    crate::accessors::inner!(0.inner);

    /// The limiter that this service shares with its clones.
    #[must_use]
    pub fn limiter(&self) -> ConcurrencyLimiter {
        ConcurrencyLimiter(self.0.gate.clone())
    }
}

impl<S, F, H, Request> Service<Request> for Concurrency<S, F, H>
where
    S: Service<Request> + Clone,
    F: Refusal<S::Response, S::Error> + Clone,
    H: Hold<S::Response, Permit>,
{
    type Response = H::Output;
    type Error = F::Error;
    type Future = ResponseFuture<S, Request, F, H>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        self.0.call(request)
    }
}

impl<S: fmt::Debug, F, H> fmt::Debug for Concurrency<S, F, H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concurrency")
            .field("inner", &self.0.inner)
            .field("limiter", &self.limiter())
            .finish_non_exhaustive()
    }
}
