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
    AnsweredBy,
    backup::{Backup, Outcome},
    rule::{Judge, Plan},
};
use crate::BoxError;

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
        Primary { #[pin] future: S::Future, kept: Kept<Request, B, R> },
        // Boxed, so that those who need no fallback have a small future.
        Backup { falling: Pin<Box<Falling<Request, B, R, B::Future>>> },
    }
}

/// What a fallback will need.
struct Kept<Request, B, R> {
    request: Option<Request>,
    plan: Arc<Plan<B, R>>,
}

pin_project! {
    /// A request whose primary has failed.
    struct Falling<Request, B, R, F> {
        kept: Kept<Request, B, R>,
        // The number, from 1, of the fallback whose future this is.
        index: usize,
        #[pin]
        future: F,
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
    ) -> Self {
        let kept = Kept { request, plan };
        Self {
            state: State::Primary { future, kept },
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
                StateProj::Primary { future, kept } => {
                    let outcome = ready!(future.poll(cx)).map_err(Into::into);
                    if !kept.plan.rule.fails(outcome.as_ref()) {
                        return Poll::Ready(outcome);
                    }
                    match Falling::start(kept, outcome) {
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

// ===== impl Kept =====

impl<Request, B, R> Kept<Request, B, R> {
    /// Finds the next one after number `index` that can answer, or gives the failure back.
    fn next<Response>(
        &mut self,
        mut index: usize,
        mut failed: Outcome<Response>,
    ) -> Result<(usize, B::Future), Outcome<Response>>
    where
        B: Backup<Request, Response>,
    {
        let backup = &self.plan.backup;
        while index < backup.count() {
            // Not the error itself: a client's error may show a URL with a key in it.
            #[cfg(feature = "tracing")]
            let failure = if failed.is_ok() { "response" } else { "error" };
            match backup.answer(index, &mut self.request, failed) {
                Ok(future) => {
                    #[cfg(feature = "tracing")]
                    tracing::debug!(
                        fallback = index + 1,
                        name = backup.name(index).as_deref(),
                        failed = failure,
                        "falling back"
                    );
                    return Ok((index + 1, future));
                }
                Err(unanswered) => failed = unanswered,
            }
            index += 1;
        }
        Err(failed)
    }
}

// ===== impl Falling =====

impl<Request, B, R, F> Falling<Request, B, R, F> {
    #[cold]
    fn start<Response>(
        kept: &mut Kept<Request, B, R>,
        failed: Outcome<Response>,
    ) -> Result<Pin<Box<Self>>, Outcome<Response>>
    where
        B: Backup<Request, Response, Future = F>,
    {
        let mut kept = Kept {
            request: kept.request.take(),
            plan: kept.plan.clone(),
        };
        let (index, future) = kept.next(0, failed)?;
        Ok(Box::pin(Self {
            kept,
            index,
            future,
        }))
    }

    fn poll<Response>(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<Response>>
    where
        B: Backup<Request, Response, Future = F>,
        F: Future<Output = Outcome<Response>>,
        R: Judge<Response>,
    {
        let mut this = self.project();
        loop {
            let mut outcome = ready!(this.future.as_mut().poll(cx));
            let plan = this.kept.plan.clone();
            if *this.index < plan.backup.count() && plan.rule.fails(outcome.as_ref()) {
                match this.kept.next(*this.index, outcome) {
                    Ok((index, future)) => {
                        *this.index = index;
                        this.future.set(future);
                        continue;
                    }
                    Err(unanswered) => outcome = unanswered,
                }
            }
            if let Ok(response) = &mut outcome {
                let by = AnsweredBy::new(*this.index, plan.backup.name(*this.index - 1));
                plan.rule.tell(response, by);
            }
            return Poll::Ready(outcome);
        }
    }
}
