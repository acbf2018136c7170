//! The response future.

use std::{
    future::Future,
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{body::ResponseBody, bounds::TimeoutBounds, watch::BodyWatch};
use crate::{
    error::{BoxError, TimedOut},
    http::{IntoHttp, WithBody, keep_alives::KeepAlives, timer::Timer, with_body::map_body},
};

/// A response whose body has timeouts.
pub type Bounded<R> = <R as WithBody<ResponseBody<<R as IntoHttp>::Body>>>::Output;

pin_project! {
    /// The response future of a [`Timeout`](super::Timeout).
    ///
    /// If it is polled again after a timeout, it returns the timeout again.
    ///
    /// # Cancel safety
    ///
    /// It may be dropped at any point, and drops the inner future. Its time starts when it is first
    /// polled.
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
        bounds: TimeoutBounds,
        // Set on the first use.
        begun: Option<Instant>,
        timer: Timer,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Calling { #[pin] future: F },
        Over { why: TimedOut },
    }
}

// ===== impl ResponseFuture =====

impl<F> ResponseFuture<F> {
    pub(super) fn new(future: F, bounds: TimeoutBounds) -> Self {
        Self {
            state: State::Calling { future },
            bounds,
            begun: None,
            timer: Timer::default(),
        }
    }
}

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: WithBody<ResponseBody<<R as IntoHttp>::Body>>,
    E: Into<BoxError>,
{
    type Output = Result<Bounded<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.state.as_mut().project() {
            StateProj::Calling { future } => {
                if this.bounds.whole_call.is_some() {
                    this.begun.get_or_insert_with(Instant::now);
                }
                if let Poll::Ready(outcome) = future.poll(cx) {
                    let timer = mem::take(this.timer);
                    let watch = BodyWatch::new(this.bounds, *this.begun, timer);
                    return Poll::Ready(match outcome {
                        Ok(response) => {
                            let keep_alives = match watch.wants_bytes() {
                                true => KeepAlives::of(response.headers()),
                                false => KeepAlives::default(),
                            };
                            Ok(map_body(response, |body| {
                                ResponseBody::new(body, watch, keep_alives)
                            }))
                        }
                        Err(error) => Err(error.into()),
                    });
                }
            }
            StateProj::Over { why } => return Poll::Ready(Err((*why).into())),
        }
        if this.bounds.attempt.is_none() && this.bounds.whole_call.is_none() {
            return Poll::Pending;
        }
        let now = Instant::now();
        let begun = *this.begun.get_or_insert(now);
        let Some(end) = this.bounds.of_head(begun) else {
            return Poll::Pending;
        };
        ready!(this.timer.poll(end.at, now, cx));
        let why = end.why;
        this.state.set(State::Over { why });
        Poll::Ready(Err(why.into_error()))
    }
}

crate::macros::debug!(impl<F> Debug for ResponseFuture<F> |self| { bounds, .. });
