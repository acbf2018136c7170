//! The way from reqwest's requests to those of `http` and back, for the layers whose requests reqwest has no type for.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use pin_project_lite::pin_project;
use reqwest::Body;
use tower_layer::Layer;
use tower_service::Service;

use crate::error::BoxError;

/// A client of reqwest that takes `http::Request`s, with a body of any type, and answers with `reqwest::Response`s.
///
/// It stands innermost where a layer needs a body of its own type, as [`ReplayLayer`](crate::replay::ReplayLayer) does; see
/// [there](crate::replay#reqwest) for an example. Anything that takes `reqwest::Request`s can be inside.
///
/// # Errors
///
/// Those of the client, and [`InvalidUrl`] where reqwest can't take the request's URL: it needs one with a scheme and a host.
#[derive(Debug, Clone)]
pub struct HttpClient<S = reqwest::Client> {
    inner: S,
}

/// Makes an [`HttpClient`] of any service that takes `reqwest::Request`s, such as the rest of a `reqwest-middleware` client.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct HttpClientLayer;

/// Makes [`HttpRequestService`]s.
#[derive(Debug, Clone, Copy, Default)]
#[must_use]
pub struct HttpRequestLayer;

/// A service that takes `reqwest::Request`s and hands them on as `http::Request<reqwest::Body>`.
///
/// It stands outside of the layers that need those, as [`ReplayLayer`](crate::replay::ReplayLayer) does, with an [`HttpClient`]
/// inside. A request without a body has an empty one afterwards.
///
/// # Errors
///
/// Those of the service inside, and [`InvalidUrl`].
#[derive(Debug, Clone)]
pub struct HttpRequestService<S> {
    inner: S,
}

/// A request whose URL reqwest can't take, or one of reqwest's that no `http::Request` can have.
///
/// Nothing was sent.
#[derive(Debug)]
pub struct InvalidUrl(reqwest::Error);

pin_project! {
    /// The response future of an [`HttpClient`] and of an [`HttpRequestService`].
    pub struct HttpClientFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Called { #[pin] future: F },
        Failed { error: Option<InvalidUrl> },
    }
}

// ===== impl HttpClient =====

impl<S> HttpClient<S> {
    /// Sends through `inner`.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }

    crate::macros::inner!(inner);
}

impl<S, B> Service<http::Request<B>> for HttpClient<S>
where
    S: Service<reqwest::Request>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = HttpClientFuture<S::Future>;

    /// Passes through.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        HttpClientFuture::of(into_reqwest(request).map(|request| self.inner.call(request)))
    }
}

fn into_reqwest<B>(request: http::Request<B>) -> Result<reqwest::Request, InvalidUrl>
where
    B: http_body::Body<Data: Into<Bytes>, Error: Into<BoxError>> + Send + Sync + 'static,
{
    // Reqwest repeats no stream, not even where it follows a redirect; no body at all is none.
    let request = request.map(|body| match body.is_end_stream() {
        true => Body::default(),
        false => Body::wrap(body),
    });
    reqwest::Request::try_from(request).map_err(InvalidUrl::new)
}

// ===== impl HttpClientLayer =====

impl HttpClientLayer {
    /// The layer; there is nothing to set.
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for HttpClientLayer {
    type Service = HttpClient<S>;

    fn layer(&self, inner: S) -> HttpClient<S> {
        HttpClient::new(inner)
    }
}

// ===== impl HttpRequestService =====

impl<S> HttpRequestService<S> {
    /// Hands on to `inner`.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }

    crate::macros::inner!(inner);
}

impl<S> Service<reqwest::Request> for HttpRequestService<S>
where
    S: Service<http::Request<Body>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = HttpClientFuture<S::Future>;

    /// Passes through.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: reqwest::Request) -> Self::Future {
        let request = http::Request::try_from(request).map_err(InvalidUrl::new);
        HttpClientFuture::of(request.map(|request| self.inner.call(request)))
    }
}

// ===== impl HttpRequestLayer =====

impl HttpRequestLayer {
    /// The layer; there is nothing to set.
    pub const fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for HttpRequestLayer {
    type Service = HttpRequestService<S>;

    fn layer(&self, inner: S) -> HttpRequestService<S> {
        HttpRequestService::new(inner)
    }
}

// ===== impl InvalidUrl =====

impl InvalidUrl {
    fn new(error: reqwest::Error) -> Self {
        Self(error.without_url())
    }
}

impl fmt::Display for InvalidUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("reqwest and http do not both take the request's URL")
    }
}

impl Error for InvalidUrl {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

// ===== impl HttpClientFuture =====

impl<F> HttpClientFuture<F> {
    fn of(called: Result<F, InvalidUrl>) -> Self {
        let state = match called {
            Ok(future) => State::Called { future },
            Err(error) => State::Failed { error: Some(error) },
        };
        Self { state }
    }
}

impl<F, Response, E> Future for HttpClientFuture<F>
where
    F: Future<Output = Result<Response, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Called { future } => future.poll(cx).map_err(Into::into),
            StateProj::Failed { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error.into())),
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for HttpClientFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientFuture").finish_non_exhaustive()
    }
}
