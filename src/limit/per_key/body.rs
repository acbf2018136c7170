//! A body whose bytes are counted as they pass.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::{Body, Frame};
use pin_project_lite::pin_project;

use super::{admitted::Admitted, kind::Rate};
use crate::http::guarded_body::is_last;

pin_project! {
    /// A body whose bytes are what its request cost. It is settled at the last frame, the first error, or the drop.
    pub struct Metered<B, K: Rate> {
        #[pin]
        body: B,
        meter: ByteMeter<K>,
    }
}

/// What has passed, and of whom.
struct ByteMeter<K: Rate> {
    bytes: u64,
    admitted: Admitted<K>,
}

// ===== impl Metered =====

impl<B: Body, K: Rate> Metered<B, K> {
    pub(super) fn new(body: B, admitted: Admitted<K>) -> Self {
        let mut meter = ByteMeter { bytes: 0, admitted };
        if body.is_end_stream() {
            meter.settle();
        }
        Self { body, meter }
    }
}

impl<B, K: Rate> Metered<B, K> {
    /// The body inside.
    pub fn get_ref(&self) -> &B {
        &self.body
    }

    /// The bytes that have passed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.meter.bytes
    }
}

impl<B: Body, K: Rate> Body for Metered<B, K> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let data = frame.data_ref().map_or(0, Buf::remaining);
            this.meter.bytes = this.meter.bytes.saturating_add(data as u64);
        }
        if is_last(frame.as_ref(), &*this.body) {
            this.meter.settle();
        }
        Poll::Ready(frame)
    }

    crate::http::body_macros::body_hints!(body);
}

crate::http::body_macros::wraps_body!(Metered<B, K: Rate>);

/// A body of nobody's, such as that of a refusal.
impl<B, K: Rate> From<B> for Metered<B, K> {
    fn from(body: B) -> Self {
        let (bytes, admitted) = (0, Admitted::uncounted());
        let meter = ByteMeter { bytes, admitted };
        Self { body, meter }
    }
}

impl<B: fmt::Debug, K: Rate> fmt::Debug for Metered<B, K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metered")
            .field("body", &self.body)
            .field("bytes", &self.meter.bytes)
            .finish_non_exhaustive()
    }
}

// ===== impl ByteMeter =====

impl<K: Rate> ByteMeter<K> {
    /// The first time that it is called.
    fn settle(&mut self) {
        self.admitted.settle(|| self.bytes);
    }
}

impl<K: Rate> Drop for ByteMeter<K> {
    fn drop(&mut self) {
        self.settle();
    }
}
