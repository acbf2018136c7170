//! The response body.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::watch::BodyWatch;
use crate::{
    error::BoxError,
    http::{
        guarded_body::{FramePoll, has_content},
        keep_alives::KeepAlives,
    },
};

/// The number of empty chunks that are skipped in one poll.
const MOST_EMPTY: usize = 32;

pin_project! {
    /// A response body with timeouts.
    ///
    /// See the [module docs](crate::timeout) for the limits. It may be dropped at any point.
    pub struct ResponseBody<B> {
        // Dropped at its end.
        #[pin]
        body: Option<B>,
        watch: BodyWatch,
        keep_alives: KeepAlives,
    }
}

// ===== impl ResponseBody =====

impl<B> ResponseBody<B> {
    pub(super) const fn new(body: B, watch: BodyWatch, keep_alives: KeepAlives) -> Self {
        let body = Some(body);
        Self {
            body,
            watch,
            keep_alives,
        }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<Self> {
        let mut this = self.project();
        let Some(body) = this.body.as_mut().as_pin_mut() else {
            return Poll::Ready(None);
        };
        let timed_out = match poll_bytes(body, this.watch.wants_bytes(), cx) {
            Poll::Ready(Some(Ok(frame))) => {
                match this.watch.passed(has_content(&frame, this.keep_alives)) {
                    Ok(()) => return Poll::Ready(Some(Ok(frame))),
                    Err(too_late) => too_late,
                }
            }
            Poll::Ready(end) => {
                this.body.set(None);
                return Poll::Ready(end.map(|last| last.map_err(Into::into)));
            }
            Poll::Pending => ready!(this.watch.poll(cx)),
        };
        this.body.set(None);
        crate::telemetry::count!(TIMEOUTS, "bound" => timed_out.as_str());
        Poll::Ready(Some(Err(timed_out.into_error())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.body {
            Some(body) => body.size_hint(),
            None => SizeHint::with_exact(0),
        }
    }
}

/// Returns the next frame; with `wants_bytes`, the next one that is not empty.
fn poll_bytes<B: Body>(
    mut body: Pin<&mut B>,
    wants_bytes: bool,
    cx: &mut Context<'_>,
) -> FramePoll<B> {
    for _ in 0..MOST_EMPTY {
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) if wants_bytes && is_empty(&frame) => {
                // Some bodies panic if they are polled after their end.
                if body.is_end_stream() {
                    return Poll::Ready(None);
                }
            }
            frame => return Poll::Ready(frame),
        }
    }
    // An endless series of empty chunks must not keep the task from its timers.
    cx.waker().wake_by_ref();
    Poll::Pending
}

fn is_empty<D: Buf>(frame: &Frame<D>) -> bool {
    frame.data_ref().is_some_and(|data| !data.has_remaining())
}

/// Creates a body without timeouts, such as one of your own in place of the response's.
impl<B> From<B> for ResponseBody<B> {
    fn from(body: B) -> Self {
        Self::new(body, BodyWatch::default(), KeepAlives::default())
    }
}

crate::http::body_macros::wraps_body!(ResponseBody<B>);

crate::macros::debug!(impl<B: std::fmt::Debug> Debug for ResponseBody<B> |self| { body, .. });
