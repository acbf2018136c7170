use tower_service::Service;

use super::{
    Condition, FallbackLayer,
    backup::Backup,
    condition::Decide,
    future::{ResponseFuture, State},
};
use crate::error::BoxError;

/// Fallback middleware. See the [module docs](crate::fallback) for examples.
pub struct Fallback<S, B, W = Condition> {
    pub(super) inner: S,
    pub(super) layer: FallbackLayer<B, W>,
}

// ===== impl Fallback =====

impl<S, B, W> Fallback<S, B, W> {
    crate::macros::inner!(inner);
}

impl<S, B, W, Request> Service<Request> for Fallback<S, B, W>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
    B: Backup<Request, S::Response>,
    W: Decide<S::Response>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, B::Future, Request, FallbackLayer<B, W>>;

    // There is no request yet that a backup could respond to.
    crate::macros::poll_ready!(inner);

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        let kept = self.layer.settings.backup.keep(&request);
        let future = self.inner.call(request);
        ResponseFuture {
            state: State::Primary { future, kept },
            layer: self.layer.clone(),
            is_circuit_open: false,
        }
    }
}

crate::macros::clone!(impl<S: Clone, B, W> Clone for Fallback<S, B, W> { inner, layer });

crate::macros::debug!(impl<S: std::fmt::Debug, B, W> Debug for Fallback<S, B, W> |self| {
    inner,
    layer,
    ..
});
