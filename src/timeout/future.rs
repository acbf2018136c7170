//! The response future.

use std::{
    mem,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::{TimeoutLayer, body::ResponseBody, watch::BodyWatch};
use crate::{
    error::BoxError,
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
        // Dropped at a timeout.
        #[pin]
        pub(super) future: Option<F>,
        pub(super) layer: TimeoutLayer,
        // Set on the first use.
        pub(super) begun: Option<Instant>,
        pub(super) timer: Timer,
    }
}

// ===== impl ResponseFuture =====

impl<F, R, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: WithBody<ResponseBody<<R as IntoHttp>::Body>>,
    E: Into<BoxError>,
{
    type Output = Result<Bounded<R>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Some(future) = this.future.as_mut().as_pin_mut() {
            if this.layer.whole_call.is_some() {
                this.begun.get_or_insert_with(Instant::now);
            }
            if let Poll::Ready(outcome) = future.poll(cx) {
                let response = outcome.map_err(Into::into)?;
                let watch = BodyWatch::new(this.layer, *this.begun, mem::take(this.timer));
                let keep_alives = match watch.wants_bytes() {
                    true => KeepAlives::of(response.headers()),
                    false => KeepAlives::default(),
                };
                return Poll::Ready(Ok(map_body(response, |body| {
                    ResponseBody::new(body, watch, keep_alives)
                })));
            }
        }
        let now = Instant::now();
        let begun = *this.begun.get_or_insert(now);
        let Some(end) = this.layer.of_head(begun) else {
            return Poll::Pending;
        };
        if this.future.is_some() {
            ready!(this.timer.poll(end.at, now, cx));
            this.future.set(None);
        }
        crate::telemetry::count!(TIMEOUTS, "bound" => end.why.as_str());
        Poll::Ready(Err(end.why.into_error()))
    }
}

crate::macros::debug!(impl<F> Debug for ResponseFuture<F> |self| { layer, .. });
