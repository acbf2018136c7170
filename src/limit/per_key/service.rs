use std::sync::Arc;

use tower_service::Service;

use super::{
    PerKeyLimiter,
    by_key::{ByKey, Demand},
    future::ResponseFuture,
    kind::{Bucket, Kind},
    permit::Permit,
    release::{AddHeaders, Release, Settle},
    state::PerKeyState,
};
use crate::limit::{
    engine::{Limited, Measure, ReleasePolicy},
    key::PeerIp,
    rejection::{AsError, Rejection},
};

/// Service with one limit per key. See the [module docs](crate::per_key) for examples.
///
/// Clones share the limits.
#[derive(Clone)]
pub struct PerKey<S, A = ByKey<PeerIp>, F = AsError, K = Bucket>(pub(super) Inner<S, A, F, K>)
where
    A: Settle,
    F: AddHeaders<K>,
    K: Kind;

pub(super) type Inner<S, A, F, K> = Limited<S, Arc<PerKeyState<K>>, A, F, Release<A, F, K>>;

// ===== impl PerKey =====

impl<S, A: Settle, F: AddHeaders<K>, K: Kind> PerKey<S, A, F, K> {
    crate::macros::inner!(0.inner);

    /// Returns the limiter, which this service shares with its clones.
    #[must_use]
    pub fn limiter(&self) -> PerKeyLimiter<K> {
        PerKeyLimiter(self.0.gate.clone())
    }
}

impl<S, A, F, K, Request> Service<Request> for PerKey<S, A, F, K>
where
    S: Service<Request> + Clone,
    A: Measure<Request, Demand<K::Plan>> + Settle,
    F: AddHeaders<K> + Rejection<Request, S::Response, S::Error> + Clone,
    K: Kind,
    Release<A, F, K>: ReleasePolicy<S::Response, Permit<K>>,
{
    type Response = <Release<A, F, K> as ReleasePolicy<S::Response, Permit<K>>>::Output;
    type Error = F::Error;
    type Future = ResponseFuture<S, Request, A, F, K>;

    crate::limit::engine::forward!();
}

crate::macros::debug! {
    impl<S: std::fmt::Debug, A: Settle, F: AddHeaders<K>, K: Kind>
    Debug for PerKey<S, A, F, K> |self| { inner: self.0.inner, limiter: self.limiter(), .. }
}
