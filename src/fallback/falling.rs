//! A request on its way from one fallback to the next.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;

use super::{
    AnsweredBy,
    backup::{Backup, Outcome},
    rule::{Judge, Plan},
};
use crate::{CircuitOpen, error::find_source};

/// What a fallback will need.
pub(super) struct Kept<Request, B, R> {
    pub(super) request: Option<Request>,
    pub(super) plan: Arc<Plan<B, R>>,
}

pin_project! {
    /// A request whose primary has failed.
    pub(super) struct Falling<Request, B, R, F> {
        kept: Kept<Request, B, R>,
        // The number, from 1, of the fallback whose future this is.
        pub(super) index: usize,
        is_primary_left_alone: bool,
        #[pin]
        future: F,
    }
}

// ===== impl Kept =====

impl<Request, B, R> Kept<Request, B, R> {
    /// Finds the next one after number `index` that is for this outcome and can answer, or gives the outcome back. `fails`
    /// is what those go by that have no condition of their own.
    fn next<Response>(
        &mut self,
        mut index: usize,
        mut failed: Outcome<Response>,
        fails: bool,
    ) -> Result<(usize, B::Future), Outcome<Response>>
    where
        B: Backup<Request, Response>,
    {
        let backup = &self.plan.backup;
        while index < backup.count() {
            if !backup.is_for(index, failed.as_ref()).unwrap_or(fails) {
                index += 1;
                continue;
            }
            #[cfg(feature = "tracing")]
            let failure = name_of(&failed);
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

fn is_left_alone<Response>(outcome: &Outcome<Response>) -> bool {
    let is_open = |error| find_source::<CircuitOpen>(error).is_some();
    outcome.as_ref().is_err_and(is_open)
}

/// What an event says that has failed. Not the error itself: a client's error may show a URL with a key in it.
#[cfg(feature = "tracing")]
fn name_of<Response>(failed: &Outcome<Response>) -> &'static str {
    match failed {
        Ok(_) => "response",
        Err(_) if is_left_alone(failed) => "left alone",
        Err(_) => "error",
    }
}

// ===== impl Falling =====

impl<Request, B, R, F> Falling<Request, B, R, F> {
    #[cold]
    pub(super) fn start<Response>(
        kept: &mut Kept<Request, B, R>,
        failed: Outcome<Response>,
        fails: bool,
    ) -> Result<Pin<Box<Self>>, Outcome<Response>>
    where
        B: Backup<Request, Response, Future = F>,
    {
        let is_primary_left_alone = is_left_alone(&failed);
        let (index, future) = kept.next(0, failed, fails)?;
        let kept = Kept {
            request: kept.request.take(),
            plan: kept.plan.clone(),
        };
        Ok(Box::pin(Self {
            kept,
            index,
            is_primary_left_alone,
            future,
        }))
    }

    pub(super) fn poll<Response>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Outcome<Response>>
    where
        B: Backup<Request, Response, Future = F>,
        F: Future<Output = Outcome<Response>>,
        R: Judge<Response>,
    {
        let mut this = self.project();
        loop {
            let mut outcome = ready!(this.future.as_mut().poll(cx));
            let plan = this.kept.plan.clone();
            if *this.index < plan.backup.count() {
                let fails = plan.rule.fails(outcome.as_ref());
                match this.kept.next(*this.index, outcome, fails) {
                    Ok((index, future)) => {
                        *this.index = index;
                        this.future.set(future);
                        continue;
                    }
                    Err(unanswered) => outcome = unanswered,
                }
            }
            if let Ok(response) = &mut outcome {
                let by = AnsweredBy::new(
                    *this.index,
                    plan.backup.name(*this.index - 1),
                    *this.is_primary_left_alone,
                );
                plan.rule.tell(response, by);
            }
            return Poll::Ready(outcome);
        }
    }
}
