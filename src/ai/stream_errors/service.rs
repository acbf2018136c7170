use std::time::Duration;

use http_body::Body;
use tower_service::Service;

use super::{
    body::ResponseBody,
    future::{Diagnosed, ResponseFuture},
};
use crate::{
    error::BoxError,
    http::{IntoHttp, WithBody},
};

/// Layer that detects errors in the beginning of response bodies.
///
/// See the [module docs](crate::stream_errors) for an example and the order of layers.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct StreamErrorLayer {
    pub(super) patience: Duration,
    pub(super) json: bool,
}

/// Service that detects errors in the beginning of response bodies. Created by a
/// [`StreamErrorLayer`].
#[derive(Debug, Clone)]
pub struct StreamErrorService<S> {
    pub(super) inner: S,
    pub(super) layer: StreamErrorLayer,
}

// ===== impl StreamErrorLayer =====

impl StreamErrorLayer {
    /// Creates a layer that waits up to 30 s for the first content of a stream and does not read
    /// successful JSON responses.
    pub const fn new() -> Self {
        Self {
            patience: Duration::from_secs(30),
            json: false,
        }
    }

    /// Sets how long the beginning of a response is held back at most, from the first wait on.
    /// After that the response passes through. The default is 30 s.
    ///
    /// A model may reason for minutes without output, while proxies and clients commonly time out
    /// after 60 s without a byte. Most errors before the first content arrive within seconds.
    ///
    /// [`Duration::ZERO`] reads only what has arrived already.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sets whether successful JSON responses are read as well. An object that has an `error` and
    /// no content then gets the error's status, as a stream does. The default is `false`.
    ///
    /// A JSON response is held back until it is complete. One that is larger than 64 KiB, is not an
    /// object, or takes longer than the [patience](StreamErrorLayer::patience) passes through.
    pub const fn json(mut self, json: bool) -> Self {
        self.json = json;
        self
    }
}

crate::macros::default!(StreamErrorLayer);

crate::macros::layer!(impl Layer for StreamErrorLayer => StreamErrorService);

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
