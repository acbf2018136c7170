//! A body that holds a guard, such as a permit, until it has ended.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::http::{
    keep_alives::KeepAlives,
    with_body::{IntoHttp, WithBody},
};

/// A response with a [`GuardedBody`].
pub(crate) type Guarded<R, G> = <R as WithBody<GuardedBody<<R as IntoHttp>::Body, G>>>::Output;

/// What [`Body::poll_frame`] returns.
pub(crate) type FramePoll<B> = Poll<Option<Result<Frame<<B as Body>::Data>, <B as Body>::Error>>>;

/// An event of a guarded body. A body that is dropped early reports nothing.
#[derive(Clone, Copy)]
pub(crate) enum BodyEvent {
    /// The next frame is polled.
    Poll,
    /// So many bytes were read, which need not be content.
    #[cfg_attr(
        not(feature = "per-key"),
        allow(dead_code, reason = "only clients pay for them")
    )]
    Data(u64),
    /// A frame with content was read.
    Frame,
    /// The body has ended.
    End,
}

pin_project! {
    /// A body that holds a guard until its last frame, its first error, or its drop.
    #[must_use = "dropping it releases the guard"]
    pub struct GuardedBody<B, G> {
        #[pin]
        body: B,
        guard: Option<G>,
        watch: Option<fn(&mut G, BodyEvent)>,
        keep_alives: KeepAlives,
    }
}

// ===== impl GuardedBody =====

impl<B: Body, G> GuardedBody<B, G> {
    /// Puts `guard` into `body`. It is dropped at once if the body has ended already.
    #[inline]
    pub fn new(body: B, guard: G) -> Self {
        let guard = (!body.is_end_stream()).then_some(guard);
        Self {
            guard,
            ..Self::from(body)
        }
    }

    /// Like [`new`](Self::new), and calls `watch` with each event while the guard is held.
    pub(crate) fn watched(
        body: B,
        mut guard: G,
        watch: fn(&mut G, BodyEvent),
        keep_alives: KeepAlives,
    ) -> Self {
        if body.is_end_stream() {
            watch(&mut guard, BodyEvent::End);
        }
        let mut guarded = Self::new(body, guard);
        guarded.watch = Some(watch);
        guarded.keep_alives = keep_alives;
        guarded
    }
}

impl<B, G> GuardedBody<B, G> {
    /// Returns a reference to the inner body.
    pub fn get_ref(&self) -> &B {
        &self.body
    }

    /// Returns a mutable reference to the inner body.
    pub fn get_mut(&mut self) -> &mut B {
        &mut self.body
    }

    /// Returns `true` if the guard is still held.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.guard.is_some()
    }
}

impl<B: Body, G> Body for GuardedBody<B, G> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<Self> {
        let mut this = self.project();
        let mut report = |event| {
            if let (Some(watch), Some(guard)) = (*this.watch, &mut this.guard) {
                watch(guard, event);
            }
        };
        report(BodyEvent::Poll);
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(data) = frame
            .as_ref()
            .and_then(|frame| frame.as_ref().ok()?.data_ref())
        {
            report(BodyEvent::Data(data.remaining() as u64));
        }
        let has_ended = is_last(frame.as_ref(), &*this.body);
        match &frame {
            Some(Err(_)) => {}
            _ if has_ended => report(BodyEvent::End),
            Some(Ok(next)) if !has_content(next, this.keep_alives) => {}
            _ => report(BodyEvent::Frame),
        }
        if has_ended {
            *this.guard = None;
        }
        Poll::Ready(frame)
    }

    crate::http::body_macros::body_hints!(body);
}

/// Returns `true` if `frame` is the end of `body` or its last frame. Readers that trust
/// `is_end_stream` don't poll again after that.
#[inline]
pub(crate) fn is_last<B: Body>(frame: Option<&Result<Frame<B::Data>, B::Error>>, body: &B) -> bool {
    !matches!(frame, Some(Ok(_))) || body.is_end_stream()
}

/// Returns the hint of a body with `bytes` before the ones of `hint`.
pub(crate) fn more_bytes(hint: &SizeHint, bytes: u64) -> SizeHint {
    let mut more = SizeHint::new();
    more.set_lower(hint.lower().saturating_add(bytes));
    if let Some(upper) = hint.upper().and_then(|upper| upper.checked_add(bytes)) {
        more.set_upper(upper);
    }
    more
}

/// Returns whether a frame is more than empty data and bytes that keep the connection alive.
pub(crate) fn has_content<D: Buf>(frame: &Frame<D>, keep_alives: &mut KeepAlives) -> bool {
    let data = frame.data_ref();
    data.is_none_or(|data| keep_alives.is_content(data))
}

crate::http::body_macros::wraps_body!(GuardedBody<B, G>);

/// Creates a body without a guard, such as for a rejection.
impl<B, G> From<B> for GuardedBody<B, G> {
    fn from(body: B) -> Self {
        Self {
            body,
            guard: None,
            watch: None,
            keep_alives: KeepAlives::default(),
        }
    }
}

crate::macros::debug!(impl<B: std::fmt::Debug, G> Debug for GuardedBody<B, G> |self| {
    body,
    held: self.guard.is_some(),
    ..
});
