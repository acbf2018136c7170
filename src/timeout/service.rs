use tower_service::Service;

use super::{
    body::ResponseBody,
    bounds::TimeoutBounds,
    future::{Bounded, ResponseFuture},
};
use crate::{
    error::BoxError,
    http::{IntoHttp, WithBody},
};

/// Timeout middleware, made by a [`TimeoutLayer`](super::TimeoutLayer).
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    inner: S,
    bounds: TimeoutBounds,
}

// ===== impl Timeout =====

impl<S> Timeout<S> {
    pub(super) const fn new(inner: S, bounds: TimeoutBounds) -> Self {
        Self { inner, bounds }
    }

    crate::macros::inner!(inner);
}

impl<S, Request> Service<Request> for Timeout<S>
where
    S: Service<Request>,
    S::Response: WithBody<ResponseBody<<S::Response as IntoHttp>::Body>>,
    S::Error: Into<BoxError>,
{
    type Response = Bounded<S::Response>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    // Without a timeout.
    crate::macros::poll_ready!(inner);

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        ResponseFuture::new(self.inner.call(request), self.bounds)
    }
}
