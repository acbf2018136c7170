use std::{
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{FallbackLayer, backup::Backup, future::ResponseFuture, view::View};
use crate::{error::BoxError, http::ResponseHead};

/// Fallback middleware. See the [module docs](crate::fallback) for examples.
pub struct Fallback<S, B, R: ?Sized = dyn ResponseHead> {
    inner: S,
    layer: FallbackLayer<B, R>,
}

// ===== impl Fallback =====

impl<S, B, R: ?Sized> Fallback<S, B, R> {
    pub(super) const fn new(inner: S, layer: FallbackLayer<B, R>) -> Self {
        Self { inner, layer }
    }

    crate::macros::inner!(inner);
}

impl<S, B, R, Request> Service<Request> for Fallback<S, B, R>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
    B: Backup<Request, S::Response>,
    R: View<S::Response> + ?Sized,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, B::Future, Request, FallbackLayer<B, R>>;

    /// Passes through to the primary. There is no request yet that a backup could respond to.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        let kept = self.layer.settings.backup.keep(&request);
        ResponseFuture::new(self.inner.call(request), kept, self.layer.clone())
    }
}

impl<S: Clone, B, R: ?Sized> Clone for Fallback<S, B, R> {
    fn clone(&self) -> Self {
        Self::new(self.inner.clone(), self.layer.clone())
    }
}

impl<S: fmt::Debug, B, R: ?Sized> fmt::Debug for Fallback<S, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("inner", &self.inner)
            .field("layer", &self.layer)
            .finish()
    }
}
