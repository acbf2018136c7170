use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    ByLength, Estimate, ProviderLimiter,
    ask::ByEstimate,
    body::ResponseBody,
    future::{ResponseFuture, SettlingResponse, WithReservation},
    shared::ProviderState,
};
use crate::{
    error::BoxError,
    http::{IntoHttp, WithBody},
    limit::{
        engine::Limited,
        rejection::{AsError, Rejection},
    },
};

/// Service that enforces a provider's limits. See the [module docs](crate::provider) for an
/// example.
///
/// Clones share the limits.
#[derive(Clone)]
pub struct ProviderService<S, E = ByLength, F = AsError>(
    pub(super) Limited<S, Arc<ProviderState>, ByEstimate<E>, F, WithReservation>,
);

// ===== impl ProviderService =====

impl<S, E, F> ProviderService<S, E, F> {
    crate::macros::inner!(0.inner);

    /// Returns the limiter, which all clones share.
    #[must_use]
    pub fn limiter(&self) -> ProviderLimiter {
        ProviderLimiter(self.0.gate.clone())
    }
}

impl<S, E, F, Request> Service<Request> for ProviderService<S, E, F>
where
    S: Service<Request> + Clone,
    S::Response: WithBody<ResponseBody<<S::Response as IntoHttp>::Body>>,
    E: Estimate<Request>,
    F: Rejection<Request, S::Response, S::Error, Error = BoxError> + Clone,
{
    type Response = SettlingResponse<S::Response>;
    type Error = BoxError;
    type Future = ResponseFuture<S, Request, F>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Service::<Request>::poll_ready(&mut self.0, cx)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        ResponseFuture {
            inner: self.0.call(request),
            refused: None,
        }
    }
}

crate::macros::debug!(impl<S: std::fmt::Debug, E, F> Debug for ProviderService<S, E, F> |self| {
    inner: self.0.inner,
    limiter: self.limiter(),
    ..
});
