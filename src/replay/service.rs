use std::task::{Context, Poll};

use http::Request;
use tower_service::Service;

use super::{IntoReplay, ReplayBody, future::ResponseFuture};
use crate::BoxError;

/// A service whose requests have bodies that can be sent again. Made by a [`ReplayLayer`](super::ReplayLayer).
#[derive(Debug, Clone)]
pub struct Replay<S> {
    inner: S,
    max_bytes: usize,
}

// ===== impl Replay =====

impl<S> Replay<S> {
    pub(super) const fn new(inner: S, max_bytes: usize) -> Self {
        Self { inner, max_bytes }
    }

    /// The service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside, to change.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside, taken out.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R> Service<R> for Replay<S>
where
    R: IntoReplay,
    S: Service<Request<ReplayBody<R::Body>>>,
    S::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    /// Passes through.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: R) -> Self::Future {
        match request.into_replay(self.max_bytes) {
            Ok(request) => ResponseFuture::called(self.inner.call(request)),
            Err(error) => ResponseFuture::failed(error),
        }
    }
}
