use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    backup::Backup,
    future::ResponseFuture,
    rule::{Judge, Memory, Plan, Rule},
};
use crate::{BoxError, Circuit, CircuitOpen, circuit::Scout};

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

    crate::accessors::inner!(inner);
}

impl<S, B, R, Request> Service<Request> for Fallback<S, B, R>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
    B: Backup<Request, S::Response>,
    R: Judge<S::Response> + Memory<S>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, Request, B, R>;

    /// Passes through to the primary, also while that is left alone. Its error is not fallen back from, as there is no request to answer yet.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        match self.plan.rule.circuit().map(Circuit::look) {
            None | Some(Ok(None)) => self.ask(request, None),
            Some(Ok(Some(scout))) => self.ask(request, Some(Box::new(scout))),
            Some(Err(open)) => self.leave_alone(request, open),
        }
    }
}

impl<S, B, R> Fallback<S, B, R> {
    #[inline(always)]
    fn ask<Request>(
        &mut self,
        request: Request,
        scout: Option<Box<Scout>>,
    ) -> ResponseFuture<S, Request, B, R>
    where
        S: Service<Request>,
        B: Backup<Request, S::Response>,
    {
        let kept = self.plan.backup.keep(&request);
        let future = self.inner.call(request);
        ResponseFuture::primary(future, kept, self.plan.clone(), scout)
    }

    /// Asks a fallback, or the primary all the same where there is none.
    #[cold]
    fn leave_alone<Request>(
        &mut self,
        request: Request,
        open: CircuitOpen,
    ) -> ResponseFuture<S, Request, B, R>
    where
        S: Service<Request>,
        B: Backup<Request, S::Response>,
        R: Judge<S::Response> + Memory<S>,
    {
        match ResponseFuture::left_alone(request, self.plan.clone(), open) {
            Ok(future) => {
                self.plan.rule.let_go(&mut self.inner);
                future
            }
            Err(request) => self.ask(request, None),
        }
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
