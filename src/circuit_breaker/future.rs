//! The response future.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::failures::Failures;
use crate::{
    circuit_breaker::circuit::CallGuard,
    error::{BoxError, CircuitOpen, Classify, HttpClassifier},
};

pin_project! {
    /// The response future of a [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point, and the call does not count then. If it was the probe, the
    /// next call is the probe.
    pub struct ResponseFuture<F, C = HttpClassifier> {
        #[pin]
        pub(super) state: State<F, C>,
    }
}

pin_project! {
    #[project = StateProj]
    pub(super) enum State<F, C> {
        Calling { #[pin] future: F, watch: Option<CallGuard>, failures: Failures<C> },
        Rejected { open: CircuitOpen },
    }
}

// ===== impl ResponseFuture =====

impl<F, C, Response, Error> Future for ResponseFuture<F, C>
where
    F: Future<Output = Result<Response, Error>>,
    Error: Into<BoxError>,
    C: Classify<Response>,
{
    type Output = Result<Response, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Calling {
                future,
                watch,
                failures,
            } => {
                let mut result = ready!(future.poll(cx)).map_err(Into::into);
                if let Some(watch) = watch.take() {
                    failures.report(&mut result, watch);
                }
                Poll::Ready(result)
            }
            StateProj::Rejected { open } => Poll::Ready(Err((*open).into())),
        }
    }
}

crate::macros::debug!(impl<F, C> Debug for ResponseFuture<F, C> |self| { .. });
