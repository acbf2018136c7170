//! The response future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::{ByKind, Judge, Judgement};
use crate::{BoxError, CircuitOpen, circuit::Watch};

pin_project! {
    /// The response future of a [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point, and does not count then. If it was the probe, the next call is.
    pub struct ResponseFuture<F, J = ByKind> {
        #[pin]
        state: State<F, J>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, J> {
        Calling { #[pin] future: F, watch: Option<Watch>, judge: J },
        Rejected { open: CircuitOpen },
    }
}

// ===== impl ResponseFuture =====

impl<F, J> ResponseFuture<F, J> {
    #[inline]
    pub(super) const fn called(future: F, watch: Option<Watch>, judge: J) -> Self {
        Self {
            state: State::Calling {
                future,
                watch,
                judge,
            },
        }
    }

    pub(super) const fn rejected(open: CircuitOpen) -> Self {
        Self {
            state: State::Rejected { open },
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
                if let Some(watch) = watch.take() {
                    match judge.judge(outcome.as_ref()) {
                        Judgement::Success => watch.succeeded(),
                        Judgement::Failure { retry_after } => {
                            watch.failed_as(judge.kind(outcome.as_ref()), retry_after);
                        }
                        Judgement::Nothing => watch.ignored(),
                    }
                }
                Poll::Ready(outcome)
            }
            StateProj::Rejected { open } => Poll::Ready(Err((*open).into())),
        }
    }
}

impl<F, J> fmt::Debug for ResponseFuture<F, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Calling { .. } => "Calling",
            State::Rejected { .. } => "Rejected",
        };
        f.debug_tuple("ResponseFuture").field(&state).finish()
    }
}
