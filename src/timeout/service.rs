use tower_service::Service;

use super::{
    body::ResponseBody,
    bounds::TimeoutBounds,
    future::{Bounded, ResponseFuture},
};
use crate::{
    error::BoxError,
    http::{IntoHttp, WithBody, timer::Timer},
};

/// Timeout middleware, made by a [`TimeoutLayer`](super::TimeoutLayer).
#[derive(Debug, Clone)]
pub struct Timeout<S> {
    pub(super) inner: S,
    pub(super) bounds: TimeoutBounds,
}

// ===== impl Timeout =====

impl<S> Timeout<S> {
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
        ResponseFuture {
            future: Some(self.inner.call(request)),
            bounds: self.bounds,
            begun: None,
            timer: Timer::default(),
        }
    }
}
