use std::{fmt, sync::Arc};

use tower_service::Service;

use super::{
    PerKeyLimiter,
    admitted::Admitted,
    answer::Face,
    ask::Ask,
    callers::Callers,
    future::ResponseFuture,
    kind::{Bucket, Kind},
    settle::Settle,
};
use crate::limit::{
    engine::{Limited, ReleasePolicy, WaitLimits},
    rejection::{AsError, Rejection},
};

/// A service with a limit for each caller. See the [module docs](crate::per_key) for examples.
///
/// A clone shares the limit.
#[derive(Clone)]
pub struct PerKey<S, A, F = AsError, K = Bucket>(Inner<S, A, F, K>)
where
    A: Settle,
    F: Face<K>,
    K: Kind;

type Inner<S, A, F, K> =
    Limited<S, Arc<Callers<K>>, A, F, <A as Settle>::ReleasePolicy<<F as Face<K>>::ReleasePolicy>>;

// ===== impl PerKey =====

impl<S, A: Settle, F: Face<K>, K: Kind> PerKey<S, A, F, K> {
    pub(super) fn new(
        inner: S,
        limiter: &PerKeyLimiter<K>,
        limits: WaitLimits,
        ask: A,
        face: F,
    ) -> Self {
        Self(Limited {
            inner,
            gate: limiter.0.clone(),
            limits,
            hold: ask.hold(face.hold(limiter)),
            cost: ask,
            refusal: face,
        })
    }

    crate::macros::inner!(0.inner);

    /// The limiter that this service shares with its clones.
    #[must_use]
    pub fn limiter(&self) -> PerKeyLimiter<K> {
        PerKeyLimiter(self.0.gate.clone())
    }
}

impl<S, A, F, K, Request> Service<Request> for PerKey<S, A, F, K>
where
    S: Service<Request> + Clone,
    A: Ask<Request, K::Plan> + Settle,
    F: Face<K> + Rejection<Request, S::Response, S::Error>,
    K: Kind,
    A::ReleasePolicy<F::ReleasePolicy>: ReleasePolicy<S::Response, Admitted<K>>,
{
    type Response =
        <A::ReleasePolicy<F::ReleasePolicy> as ReleasePolicy<S::Response, Admitted<K>>>::Output;
    type Error = F::Error;
    type Future = ResponseFuture<S, Request, A, F, K>;

    crate::limit::engine::forward!();
}

impl<S: fmt::Debug, A: Settle, F: Face<K>, K: Kind> fmt::Debug for PerKey<S, A, F, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PerKey")
            .field("inner", &self.0.inner)
            .field("limiter", &self.limiter())
            .finish_non_exhaustive()
    }
}
