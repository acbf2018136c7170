//! Bodies of limits per key.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Buf;
use http_body::Body;
use pin_project_lite::pin_project;

use super::{kind::Rate, permit::Permit};
use crate::http::guarded_body::{FramePoll, is_last};

pin_project! {
    /// Body whose bytes are the cost of its request. They count as they pass; a cost that was
    /// reserved and is not used is given back at the last frame, the first error, or the drop.
    pub struct Metered<B, K: Rate> {
        #[pin]
        body: B,
        meter: ByteMeter<K>,
    }
}

/// Settles a cost by the bytes that have passed through the response's body.
#[derive(Debug, Clone, Copy)]
pub struct ByBytes;

/// What has passed, and the permit to settle.
struct ByteMeter<K: Rate> {
    bytes: u64,
    permit: Permit<K>,
}

// ===== impl Metered =====

impl<B: Body, K: Rate> Metered<B, K> {
    pub(super) fn new(body: B, permit: Permit<K>) -> Self {
        let mut meter = ByteMeter { bytes: 0, permit };
        if body.is_end_stream() {
            meter.settle();
        }
        Self { body, meter }
    }
}

impl<B, K: Rate> Metered<B, K> {
    /// Returns the inner body.
    pub fn get_ref(&self) -> &B {
        &self.body
    }

    /// Returns the number of bytes that have passed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.meter.bytes
    }
}

impl<B: Body, K: Rate> Body for Metered<B, K> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<Self> {
        let mut this = self.project();
        let frame = ready!(this.body.as_mut().poll_frame(cx));
        if let Some(Ok(frame)) = &frame {
            let data = frame.data_ref().map_or(0, Buf::remaining);
            this.meter.bytes = this.meter.bytes.saturating_add(data as u64);
            this.meter.permit.charge(this.meter.bytes);
        }
        if is_last(frame.as_ref(), &*this.body) {
            this.meter.settle();
        }
        Poll::Ready(frame)
    }

    crate::http::body_macros::body_hints!(body);
}

crate::http::body_macros::wraps_body!(Metered<B, K: Rate>);

/// The body of a response that is not counted, such as a rejection.
impl<B, K: Rate> From<B> for Metered<B, K> {
    fn from(body: B) -> Self {
        let (bytes, permit) = (0, Permit::uncounted());
        let meter = ByteMeter { bytes, permit };
        Self { body, meter }
    }
}

crate::macros::debug!(impl<B: std::fmt::Debug, K: Rate> Debug for Metered<B, K> |self| {
    body,
    bytes: self.meter.bytes,
    ..
});

// ===== impl ByteMeter =====

impl<K: Rate> ByteMeter<K> {
    /// Settles the cost, the first time that it is called.
    fn settle(&mut self) {
        self.permit.settle(|| self.bytes);
    }
}

impl<K: Rate> Drop for ByteMeter<K> {
    fn drop(&mut self) {
        self.settle();
    }
}
