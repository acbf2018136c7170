//! The response future of every limiter.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tower_service::Service;

use super::{
    limiter::{LimitKey, Limiter},
    queued_call::{QueuedCall, Stopped},
    release_policy::ReleasePolicy,
};
use crate::{error::Rejected, limit::rejection::Rejection, telemetry::QueueTelemetry};

pin_project! {
    /// The response future of a service behind a limiter.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point. A request that waits has taken nothing: its place in the
    /// queue goes to the next one. A request that was called has used what it took, and releases
    /// its permit.
    ///
    /// A request has its place in the queue from its call on. If the future is kept without being
    /// polled, the requests behind it wait, each for its own `max_wait` at most. If the inner
    /// service of the first one is not ready, they also wait no longer than that one may.
    pub struct ResponseFuture<S, Request, G, F, H>
    where
        S: Service<Request>,
        G: Limiter,
    {
        #[pin]
        pub(super) state: State<S, Request, G>,
        pub(super) refusal: F,
        pub(super) hold: H,
    }
}

pin_project! {
    #[project = StateProj]
    pub(super) enum State<S, Request, G>
    where
        S: Service<Request>,
        G: Limiter,
    {
        // Boxed, so that the future of a request that does not wait is small.
        QueuedCall { in_line: Box<InLine<S, Request, G>> },
        Calling { #[pin] future: S::Future, pass: Option<G::Pass> },
        // Boxed, as it is rare and may be large.
        Rejected { rejection: Option<Box<(RequestContext<Request>, Rejected)>> },
    }
}

/// A request in the queue.
pub(super) struct InLine<S, Request, G: Limiter> {
    pub(super) queueing: QueuedCall<S, G>,
    pub(super) request: Option<RequestContext<Request>>,
    pub(super) telemetry: QueueTelemetry,
}

/// A request that was not admitted at once, and what its rejection says of it.
pub(crate) struct RequestContext<Request> {
    pub(super) request: Request,
    /// The name of the layer.
    pub(super) name: Option<&'static str>,
    pub(super) key: Option<LimitKey>,
}

// ===== impl ResponseFuture =====

impl<S, Request, G, F, H> ResponseFuture<S, Request, G, F, H>
where
    S: Service<Request>,
    G: Limiter,
{
    #[inline]
    pub(crate) fn called(future: S::Future, pass: G::Pass, refusal: F, hold: H) -> Self {
        let pass = Some(pass);
        let state = State::Calling { future, pass };
        Self {
            state,
            refusal,
            hold,
        }
    }
}

impl<S, Request, G, F, H> Future for ResponseFuture<S, Request, G, F, H>
where
    S: Service<Request> + Clone,
    G: Limiter,
    F: Rejection<Request, S::Response, S::Error>,
    H: ReleasePolicy<S::Response, G::Pass>,
{
    type Output = Result<H::Output, F::Error>;

    #[inline(always)]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            // In the order of frequency.
            match this.state.as_mut().project() {
                // ## Calling => done
                StateProj::Calling { future, pass } => {
                    let result = ready!(future.poll(cx));
                    let Some(pass) = pass.take() else {
                        unreachable!("polled after it was done")
                    };
                    return Poll::Ready(match result {
                        Ok(response) => Ok(this.hold.hold(response, pass)),
                        Err(error) => {
                            let error = F::pass(error);
                            // At once: this future may be kept after the error.
                            G::failed(F::as_boxed(&error), pass);
                            Err(error)
                        }
                    });
                }
                // ## QueuedCall => (Calling | Rejected | done)
                StateProj::QueuedCall { in_line } => {
                    let admitted = ready!(in_line.queueing.poll(cx));
                    let Some(context) = in_line.request.take() else {
                        unreachable!("polled after it was done")
                    };
                    let telemetry = &mut in_line.telemetry;
                    match admitted {
                        Ok(pass) => {
                            let RequestContext { request, key, .. } = context;
                            let service = &mut in_line.queueing.service;
                            let future = match G::shadowed(&pass) {
                                None => telemetry.admitted(|| service.call(request)),
                                Some(rejected) => telemetry.shadowed(rejected, || {
                                    this.refusal.observe(&request, rejected, key, true);
                                    service.call(request)
                                }),
                            };
                            let pass = Some(pass);
                            this.state.set(State::Calling { future, pass });
                        }
                        Err(Stopped::Refused(rejected)) => {
                            telemetry.rejected(&rejected);
                            let rejection = Some(Box::new((context, rejected)));
                            this.state.set(State::Rejected { rejection });
                        }
                        Err(Stopped::NotReady(error)) => {
                            // The service may have a place in an inner queue, and this future may
                            // be kept.
                            this.state.set(State::Rejected { rejection: None });
                            return Poll::Ready(Err(F::pass(error)));
                        }
                    }
                }
                // ## Rejected => done
                StateProj::Rejected { rejection } => {
                    let Some(rejection) = rejection.take() else {
                        unreachable!("polled after it was done")
                    };
                    let (context, rejected) = *rejection;
                    let RequestContext { request, name, key } = context;
                    let rejected = rejected.named(name);
                    this.refusal.observe(&request, &rejected, key, false);
                    let response = this.refusal.reject(&request, rejected.clone())?;
                    return Poll::Ready(Ok(this.hold.rejected(response, &rejected)));
                }
            }
        }
    }
}

crate::macros::debug! {
    impl<S: Service<Request>, Request, G: Limiter, F, H>
    Debug for ResponseFuture<S, Request, G, F, H> |self| { .. }
}
