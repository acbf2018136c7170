//! The response future.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use http::StatusCode;
use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    SelectedTarget,
    race::Race,
    run::{Dispatch, Run},
};
use crate::{
    ai::{
        provider,
        provider::{body::ResponseBody, future::SettlingResponse},
    },
    circuit_breaker::{FAILURES, Failures, circuit::CallGuard},
    error::{BoxError, HttpClassifier, Outcome, OutcomeSet},
    http::{IntoHttp, PeekBody, ReplaceBody, ResponseHead, TryClone, WithBody},
};

pin_project! {
    /// Response future of [`Router`](super::Router).
    ///
    /// # Cancel safety
    ///
    /// May be dropped at any point. A queued request has not taken anything, and leaves the queues
    /// of all targets. A request that was sent counts with its reservation.
    ///
    /// A request joins the queues when it is called. If its future is kept without being polled, it
    /// blocks the requests behind it.
    pub struct ResponseFuture<S, Request>
    where
        S: Service<Request, Response: IntoHttp>,
    {
        #[pin]
        state: State<S, Request>,
        run: Box<Run<S, Request>>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, Request>
    where
        S: Service<Request, Response: IntoHttp>,
    {
        Sent {
            #[pin]
            future: provider::future::ResponseFuture<S, Request>,
            target: usize,
            watch: Option<CallGuard>,
        },
        // Boxed, to keep the future small if the request need not wait.
        Waiting { race: Box<Race<S>> },
        Stopped { error: Option<BoxError> },
    }
}

/// The next step of a request. Not boxed, since most requests are sent at once.
enum Next<S> {
    Send(Dispatch<S>),
    Wait(Race<S>),
}

/// Sends the request to a target that admits it now, or joins the queue of each.
fn next<S, Request>(run: &Run<S, Request>) -> Result<Next<S>, BoxError>
where
    S: Service<Request> + Clone,
{
    match run.start_now()? {
        Some(start) => Ok(Next::Send(start)),
        None => Race::join(run).map(Next::Wait),
    }
}

// ===== impl ResponseFuture =====

impl<S: Service<Request, Response: IntoHttp>, Request> ResponseFuture<S, Request> {
    /// Sends the request at once, or joins the queues.
    pub(super) fn start(mut run: Box<Run<S, Request>>) -> Self
    where
        S: Clone,
        Request: PeekBody + ReplaceBody + TryClone,
    {
        let state = match next(&run) {
            Ok(next) => State::after(next, &mut run),
            Err(error) => {
                // The error itself is not logged: a service's own may contain secrets.
                crate::macros::event!(target: "tower_throttle::router", "no target available");
                State::Stopped { error: Some(error) }
            }
        };
        Self { state, run }
    }
}

impl<S, Request> Future for ResponseFuture<S, Request>
where
    S: Service<Request> + Clone,
    S::Response: WithBody<ResponseBody<<S::Response as IntoHttp>::Body>>,
    S::Error: Into<BoxError>,
    SettlingResponse<S::Response>: ResponseHead,
    Request: PeekBody + ReplaceBody + TryClone,
{
    type Output = Result<SettlingResponse<S::Response>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        let run = this.run;
        loop {
            match this.state.as_mut().project() {
                // ## Sent => (Sent | Waiting | done)
                StateProj::Sent {
                    future,
                    target,
                    watch,
                } => {
                    let mut outcome = ready!(future.poll(cx));
                    let target = *target;
                    let has_failed = is_failure(outcome.as_ref());
                    if let Some(watch) = watch.take() {
                        failures().report(&mut outcome, watch);
                    }
                    // Drop the call first: the next one may need what it holds.
                    this.state.set(State::Stopped { error: None });
                    if has_failed
                        && !run.left.is_empty()
                        && run.request.as_ref().is_some_and(TryClone::claim)
                    {
                        // If no target admits it, the failure is more useful than the rejection.
                        if let Ok(next) = next(run) {
                            crate::macros::event!(
                                target: "tower_throttle::router",
                                outcome = ?Outcome::of(outcome.as_ref()),
                                "a target failed, and another one is asked"
                            );
                            drop(outcome);
                            this.state.set(State::after(next, run));
                            continue;
                        }
                    }
                    if let Ok(response) = &mut outcome {
                        let target = run.target(target);
                        response.extensions_mut().insert(SelectedTarget {
                            target: target.name.clone(),
                            model: target.model.clone(),
                            tried: run.tried - 1,
                        });
                    }
                    return Poll::Ready(outcome);
                }
                // ## Waiting => (Sent | done)
                StateProj::Waiting { race } => {
                    let start = ready!(race.poll(run, cx))?;
                    this.state.set(State::after(Next::Send(start), run));
                }
                // ## Stopped => done
                StateProj::Stopped { error } => {
                    return match error.take() {
                        Some(error) => Poll::Ready(Err(error)),
                        None => unreachable!("polled after it was done"),
                    };
                }
            }
        }
    }
}

/// Returns what counts as a failure of a target. A rate limit does not: the limiter pauses.
fn failures() -> Failures<HttpClassifier> {
    let others = FAILURES.into_iter();
    let others = others.filter(|outcome| *outcome != Outcome::RateLimited);
    Failures {
        classifier: HttpClassifier,
        outcomes: OutcomeSet::new(others.chain([Outcome::QuotaExhausted])),
    }
}

/// Returns `true` if another target may succeed.
fn is_failure<R: ResponseHead>(result: Result<&R, &BoxError>) -> bool {
    match Outcome::of(result) {
        Some(Outcome::Success | Outcome::ContextTooLong | Outcome::ContentPolicy) => false,
        // A request that is too large for one target may fit another.
        Some(Outcome::ClientError) => {
            result.map_or(true, |it| it.status() == StatusCode::PAYLOAD_TOO_LARGE)
        }
        // `None` too: a limit of this target alone may have rejected the request.
        _ => true,
    }
}

crate::macros::debug! {
    impl<S: Service<Request, Response: IntoHttp>, Request>
    Debug for ResponseFuture<S, Request> |self| { tried: self.run.tried, .. }
}

// ===== impl State =====

impl<S: Service<Request, Response: IntoHttp>, Request> State<S, Request> {
    fn after(next: Next<S>, run: &mut Run<S, Request>) -> Self
    where
        S: Clone,
        Request: PeekBody + ReplaceBody + TryClone,
    {
        match next {
            Next::Send(mut dispatch) => {
                let target = dispatch.target;
                let future = dispatch.service.call(run.take_request(target));
                Self::Sent {
                    future: provider::future::ResponseFuture::called(future, dispatch.reservation),
                    target,
                    watch: dispatch.watch,
                }
            }
            Next::Wait(race) => {
                crate::macros::event!(
                    target: "tower_throttle::router",
                    targets = race.candidates.len(), "waiting for a target"
                );
                Self::Waiting {
                    race: Box::new(race),
                }
            }
        }
    }
}
