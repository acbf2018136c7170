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
        bytes: u64,
        permit: Permit<K>,
    }

    impl<B, K: Rate> PinnedDrop for Metered<B, K> {
        fn drop(this: Pin<&mut Self>) {
            let this = this.project();
            this.permit.settle(|| *this.bytes);
        }
    }
}

/// Settles a cost by the bytes that have passed through the response's body.
#[derive(Debug, Clone, Copy)]
pub struct ByBytes;

// ===== impl Metered =====

impl<B: Body, K: Rate> Metered<B, K> {
    pub(super) fn new(body: B, permit: Permit<K>) -> Self {
        let mut metered = Self::from(body);
        metered.permit = permit;
        if metered.body.is_end_stream() {
            metered.permit.settle(|| 0);
        }
        metered
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
        self.bytes
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
            *this.bytes = this.bytes.saturating_add(data as u64);
            this.permit.charge(*this.bytes);
        }
        if is_last(frame.as_ref(), &*this.body) {
            this.permit.settle(|| *this.bytes);
        }
        Poll::Ready(frame)
    }

    crate::http::body_macros::body_hints!(body);
}

crate::http::body_macros::wraps_body!(Metered<B, K: Rate>);

/// The body of a response that is not counted, such as a rejection.
impl<B, K: Rate> From<B> for Metered<B, K> {
    fn from(body: B) -> Self {
        Self {
            body,
            bytes: 0,
            permit: Permit::uncounted(),
        }
    }
}

crate::macros::debug!(impl<B: std::fmt::Debug, K: Rate> Debug for Metered<B, K> |self| {
    body, bytes, ..
});
