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
        Prioritize, UniformPriority,
        engine::Limited,
        rejection::{AsError, Rejection},
    },
};

/// Service that enforces a provider's limits. See the [module docs](crate::provider) for an
/// example.
///
/// Clones share the limits.
#[derive(Clone)]
pub struct ProviderService<S, E = ByLength, F = AsError, P = UniformPriority>(
    pub(super) Limited<S, Arc<ProviderState>, ByEstimate<E, P>, F, WithReservation>,
);

// ===== impl ProviderService =====

impl<S, E, F, P> ProviderService<S, E, F, P> {
    crate::macros::inner!(0.inner);

    /// Returns the limiter, which all clones share.
    #[must_use]
    pub fn limiter(&self) -> ProviderLimiter {
        ProviderLimiter(self.0.gate.clone())
    }
}

impl<S, E, F, P, Request> Service<Request> for ProviderService<S, E, F, P>
where
    S: Service<Request> + Clone,
    S::Response: WithBody<ResponseBody<<S::Response as IntoHttp>::Body>>,
    E: Estimate<Request>,
    P: Prioritize<Request>,
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

crate::macros::debug! {
    impl<S: std::fmt::Debug, E, F, P>
    Debug for ProviderService<S, E, F, P> |self| {
        inner: self.0.inner,
        limiter: self.limiter(),
        ..
    }
}
