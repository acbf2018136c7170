use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    backup::Backup,
    future::ResponseFuture,
    rule::{Judge, Plan, Rule},
};
use crate::BoxError;

/// A service that is answered for where it fails. See the [module docs](crate::fallback) for examples.
pub struct Fallback<S, B, R = Rule> {
    inner: S,
    plan: Arc<Plan<B, R>>,
}

// ===== impl Fallback =====

impl<S, B, R> Fallback<S, B, R> {
    pub(super) const fn new(inner: S, plan: Arc<Plan<B, R>>) -> Self {
        Self { inner, plan }
    }

    /// The primary.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The primary, to change.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The primary, without its fallback.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B, R, Request> Service<Request> for Fallback<S, B, R>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
    B: Backup<Request, S::Response>,
    R: Judge<S::Response>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Request, B, R>;

    /// Passes through to the primary. Its error is not fallen back from, as there is no request to answer yet.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        let kept = self.plan.backup.keep(&request);
        ResponseFuture::primary(self.inner.call(request), kept, self.plan.clone())
    }
}

impl<S: Clone, B, R> Clone for Fallback<S, B, R> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            plan: self.plan.clone(),
        }
    }
}

impl<S: fmt::Debug, B: fmt::Debug, R: fmt::Debug> fmt::Debug for Fallback<S, B, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallback")
            .field("inner", &self.inner)
            .field("backup", &self.plan.backup)
            .field("rule", &self.plan.rule)
            .finish()
    }
}
