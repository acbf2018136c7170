//! The response future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::{ByKind, Judge, Judgement};
use crate::{BoxError, CircuitOpen, ErrorKind, circuit::Watch};

pin_project! {
    /// The response future of a [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point, and says nothing of the service then. Where it was the one that was to find out whether
    /// all is well again, the next call does that.
    pub struct ResponseFuture<F, J = ByKind> {
        #[pin]
        state: State<F, J>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, J> {
        Calling { #[pin] future: F, watch: Option<Watch>, judge: J },
        Refused { open: CircuitOpen },
    }
}

// ===== impl ResponseFuture =====

impl<F, J> ResponseFuture<F, J> {
    #[inline]
    pub(super) fn called(future: F, watch: Watch, judge: J) -> Self {
        let watch = Some(watch);
        Self {
            state: State::Calling {
                future,
                watch,
                judge,
            },
        }
    }

    pub(super) fn refused(open: CircuitOpen) -> Self {
        Self {
            state: State::Refused { open },
        }
    }
}

impl<F, J, Response, Error> Future for ResponseFuture<F, J>
where
    F: Future<Output = Result<Response, Error>>,
    Error: Into<BoxError>,
    J: Judge<Response>,
{
    type Output = Result<Response, BoxError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Calling {
                future,
                watch,
                judge,
            } => {
                let outcome = ready!(future.poll(cx)).map_err(Into::into);
                let judgement = judge.judge(outcome.as_ref());
                if let Some(watch) = watch.take() {
                    tell(watch, judgement, || judge.kind(outcome.as_ref()));
                }
                Poll::Ready(outcome)
            }
            StateProj::Refused { open } => Poll::Ready(Err((*open).into())),
        }
    }
}

#[inline]
fn tell(watch: Watch, judgement: Judgement, kind: impl FnOnce() -> Option<ErrorKind>) {
    match judgement {
        Judgement::Success => watch.succeeded(),
        Judgement::Failure { retry_after } => watch.failed_as(kind(), retry_after),
        Judgement::Nothing => watch.ignored(),
    }
}

impl<F, J> fmt::Debug for ResponseFuture<F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "Calling",
            State::Refused { .. } => "Refused",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
