//! Converts between requests of reqwest and `http`, for layers with their own body type.

use std::{
    error::Error,
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use reqwest::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::BoxError;

/// A service that converts `http::Request`s with any body to `reqwest::Request`s. It returns
/// `reqwest::Response`s.
///
/// It is the innermost layer if a layer needs its own body type, as
/// [`ReplayLayer`](crate::replay::ReplayLayer) does; see [its example](crate::replay#reqwest). The
/// inner service may be any that takes `reqwest::Request`s.
///
/// # Errors
///
/// Returns the error of the inner service, or [`InvalidUrl`] if reqwest rejects the request's URL:
/// it needs a scheme and a host.
#[derive(Debug, Clone)]
pub struct HttpClient<S = reqwest::Client> {
    inner: S,
}

/// Layer that creates an [`HttpClient`] from any service that takes `reqwest::Request`s, such as
/// the rest of a `reqwest-middleware` client.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct HttpClientLayer;

/// Layer that creates [`HttpRequestService`]s.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct HttpRequestLayer;

/// A service that converts `reqwest::Request`s to `http::Request<reqwest::Body>`.
///
/// Place it outside the layers that need these, such as
/// [`ReplayLayer`](crate::replay::ReplayLayer), with an [`HttpClient`] inside. A missing body
/// becomes an empty one.
///
/// # Errors
///
/// Returns the error of the inner service, or [`InvalidUrl`].
#[derive(Debug, Clone)]
pub struct HttpRequestService<S> {
    inner: S,
}

/// Error returned if a URL is valid for only one of reqwest and `http`.
///
/// The request was not sent.
#[derive(Debug)]
pub struct InvalidUrl(reqwest::Error);

pin_project! {
    /// Response future of [`HttpClient`] and [`HttpRequestService`].
    pub struct HttpClientFuture<F> {
        #[pin]
        future: Option<F>,
        error: Option<InvalidUrl>,
    }
}

/// Implements the constructors of a layer and its service.
macro_rules! layer {
    ($Layer:ident, $Service:ident) => {
        impl $Layer {
            /// Creates a layer.
            pub const fn new() -> Self {
                Self
            }
        }

        impl<S> Layer<S> for $Layer {
            type Service = $Service<S>;

            fn layer(&self, inner: S) -> Self::Service {
                $Service { inner }
            }
        }

        impl<S> $Service<S> {
            /// Creates a service that sends converted requests to `inner`.
            pub const fn new(inner: S) -> Self {
                Self { inner }
            }

            crate::macros::inner!(inner);
        }
    };
}

layer!(HttpClientLayer, HttpClient);
layer!(HttpRequestLayer, HttpRequestService);

// ===== impl HttpClient =====

impl<S, B> Service<http::Request<B>> for HttpClient<S>
where
    S: Service<reqwest::Request>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = HttpClientFuture<S::Future>;

    crate::macros::poll_ready!(inner);

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        // Reqwest does not resend a stream, not even for a redirect; an empty body is sent as none.
        let request = request.map(|body| match body.is_end_stream() {
            true => Body::default(),
            false => Body::wrap(body),
        });
        HttpClientFuture::of(request.try_into(), |request| self.inner.call(request))
    }
}

// ===== impl HttpRequestService =====

impl<S> Service<reqwest::Request> for HttpRequestService<S>
where
    S: Service<http::Request<Body>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = HttpClientFuture<S::Future>;

    crate::macros::poll_ready!(inner);

    fn call(&mut self, request: reqwest::Request) -> Self::Future {
        HttpClientFuture::of(request.try_into(), |request| self.inner.call(request))
    }
}

// ===== impl InvalidUrl =====

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("invalid request URL: use an absolute URL with a scheme and a host")
    }
}

impl Error for InvalidUrl {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

// ===== impl HttpClientFuture =====

impl<F> HttpClientFuture<F> {
    fn of<R>(request: reqwest::Result<R>, call: impl FnOnce(R) -> F) -> Self {
        let (future, error) = match request {
            Ok(request) => (Some(call(request)), None),
            Err(error) => (None, Some(InvalidUrl(error.without_url()))),
        };
        Self { future, error }
    }
}

impl<F, Response, E> Future for HttpClientFuture<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        match (this.future.as_pin_mut(), this.error.take()) {
            (Some(future), _) => future.poll(cx).map_err(Into::into),
            (None, Some(error)) => Poll::Ready(Err(error.into())),
            (None, None) => Poll::Pending,
        }
    }
}

crate::macros::debug!(impl<F> Debug for HttpClientFuture<F> |self| { .. });
