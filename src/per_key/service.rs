use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    PerKeyLimiter,
    answer::Face,
    ask::Ask,
    future::ResponseFuture,
    limiter::{Admitted, Callers},
};
use crate::{
    limit::{Hold, Limited},
    refusal::{Fail, Refusal},
};

/// A service with a limit on the rate at which each caller's requests start. See the [module docs](crate::per_key) for
/// examples.
///
/// A clone shares the limit.
#[derive(Clone)]
pub struct PerKey<S, A, F: Face = Fail>(Limited<S, Arc<Callers>, A, F, F::Hold>);

// ===== impl PerKey =====

impl<S, A, F: Face> PerKey<S, A, F> {
    pub(super) fn new(inner: S, limiter: &PerKeyLimiter, ask: A, face: F) -> Self {
        Self(Limited {
            inner,
            gate: limiter.0.clone(),
            cost: ask,
            hold: face.hold(),
            refusal: face,
        })
    }

    crate::accessors::inner!(0.inner);

    /// The limiter that this service shares with its clones.
    #[must_use]
    pub fn limiter(&self) -> PerKeyLimiter {
        PerKeyLimiter(self.0.gate.clone())
    }
}

impl<S, A, F, Request> Service<Request> for PerKey<S, A, F>
where
    S: Service<Request> + Clone,
    A: Ask<Request>,
    F: Face + Refusal<<F::Hold as Hold<S::Response, Admitted>>::Output, S::Error>,
    F::Hold: Hold<S::Response, Admitted>,
{
    type Response = <F::Hold as Hold<S::Response, Admitted>>::Output;
    type Error = F::Error;
    type Future = ResponseFuture<S, Request, F>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        self.0.call(request)
    }
}

impl<S: fmt::Debug, A, F: Face> fmt::Debug for PerKey<S, A, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerKey")
            .field("inner", &self.0.inner)
            .field("limiter", &self.limiter())
            .finish_non_exhaustive()
    }
}
