//! The response future.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    backup::{Backup, Outcome},
    falling::{Falling, Kept},
    rule::{Judge, Plan},
};
use crate::{BoxError, CircuitOpen, circuit::Scout};

pin_project! {
    /// The response future of a [`Fallback`](super::Fallback).
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point, and drops whoever it is waiting for. That one may have acted on the request.
    pub struct ResponseFuture<S, Request, B, R>
    where
        S: Service<Request>,
        B: Backup<Request, S::Response>,
    {
        #[pin]
        state: State<S, Request, B, R>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Request, B, R>
    where
        S: Service<Request>,
        B: Backup<Request, S::Response>,
    {
        Primary {
            #[pin]
            future: S::Future,
            kept: Kept<Request, B, R>,
            // Boxed, as there is one at a time.
            scout: Option<Box<Scout>>,
        },
        // Boxed, so that those who need no fallback have a small future.
        Backup { falling: Pin<Box<Falling<Request, B, R, B::Future>>> },
    }
}

// ===== impl ResponseFuture =====

impl<S, Request, B, R> ResponseFuture<S, Request, B, R>
where
    S: Service<Request>,
    B: Backup<Request, S::Response>,
{
    #[inline]
    pub(super) fn primary(
        future: S::Future,
        request: Option<Request>,
        plan: Arc<Plan<B, R>>,
        scout: Option<Box<Scout>>,
    ) -> Self {
        let kept = Kept { request, plan };
        Self {
            state: State::Primary {
                future,
                kept,
                scout,
            },
        }
    }

    /// The future of a request for which the primary is not asked, or the request where nobody else can answer it.
    pub(super) fn left_alone(
        request: Request,
        plan: Arc<Plan<B, R>>,
        open: CircuitOpen,
    ) -> Result<Self, Request>
    where
        R: Judge<S::Response>,
    {
        let request = Some(request);
        let mut kept = Kept { request, plan };
        let failed = Err(open.into());
        let fails = kept.plan.rule.fails(failed.as_ref());
        match Falling::start(&mut kept, failed, fails) {
            Ok(falling) => Ok(Self {
                state: State::Backup { falling },
            }),
            Err(_) => match kept.request {
                Some(request) => Err(request),
                None => unreachable!("who takes the request answers it"),
            },
        }
    }
}

impl<S, Request, B, R> Future for ResponseFuture<S, Request, B, R>
where
    S: Service<Request>,
    S::Error: Into<BoxError>,
    B: Backup<Request, S::Response>,
    R: Judge<S::Response>,
{
    type Output = Outcome<S::Response>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                // ## Primary => (Backup | done)
                StateProj::Primary {
                    future,
                    kept,
                    scout,
                } => {
                    let outcome = ready!(future.poll(cx)).map_err(Into::into);
                    *scout = None;
                    let fails = kept.plan.rule.fails(outcome.as_ref());
                    if !fails && !kept.plan.backup.is_choosy() {
                        return Poll::Ready(outcome);
                    }
                    match Falling::start(kept, outcome, fails) {
                        // Drops the primary's future, and what it may hold, before the backup is polled.
                        Ok(falling) => this.state.set(State::Backup { falling }),
                        Err(outcome) => return Poll::Ready(outcome),
                    }
                }
                // ## Backup => done
                StateProj::Backup { falling } => return falling.as_mut().poll(cx),
            }
        }
    }
}

impl<S, Request, B, R> fmt::Debug for ResponseFuture<S, Request, B, R>
where
    S: Service<Request>,
    B: Backup<Request, S::Response>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = match &self.state {
            State::Primary { .. } => 0,
            State::Backup { falling } => falling.index,
        };
        f.debug_struct("ResponseFuture")
            .field("answers", &answers)
            .finish()
    }
}
