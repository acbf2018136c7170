use http_body::Body;
use tower_service::Service;

use super::{
    StreamErrorLayer,
    body::ResponseBody,
    future::{Diagnosed, ResponseFuture},
};
use crate::{
    error::BoxError,
    http::{IntoHttp, WithBody},
};

/// Service that detects errors in the beginning of response bodies. Created by a
/// [`StreamErrorLayer`](super::StreamErrorLayer).
#[derive(Debug, Clone)]
pub struct StreamErrorService<S> {
    pub(super) inner: S,
    pub(super) layer: StreamErrorLayer,
}

// ===== impl StreamErrorService =====

impl<S> StreamErrorService<S> {
    crate::macros::inner!(inner);
}

impl<S, Request> Service<Request> for StreamErrorService<S>
where
    S: Service<Request>,
    S::Response: WithBody<ResponseBody<<S::Response as IntoHttp>::Body>>,
    S::Error: Into<BoxError>,
    <<S::Response as IntoHttp>::Body as Body>::Error: Into<BoxError>,
{
    type Response = Diagnosed<S::Response>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, S::Response>;

    crate::macros::poll_ready!(inner);

    fn call(&mut self, request: Request) -> Self::Future {
        ResponseFuture {
            inner: self.inner.call(request),
            layer: self.layer,
            inspection: None,
        }
    }
}
