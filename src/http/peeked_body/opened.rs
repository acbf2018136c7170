//! The whole body, after its beginning was read.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use http_body::{Body, SizeHint};
use pin_project_lite::pin_project;

use super::{Read, data};
use crate::http::guarded_body::more_bytes;

pin_project! {
    /// A body whose beginning may have been read already. All frames pass through unchanged.
    pub struct PeekedBody<B: Body> {
        read: VecDeque<Read<B>>,
        // What was read is all.
        has_ended: bool,
        #[pin]
        body: BodyState<B>,
    }
}

pin_project! {
    #[project = InsideProj]
    enum BodyState<B> {
        Plain { #[pin] body: B },
        // A body that was polled can't be moved.
        Pinned { body: Pin<Box<B>> },
    }
}

// ===== impl PeekedBody =====

impl<B: Body> PeekedBody<B> {
    pub(super) const fn new(read: VecDeque<Read<B>>, body: Pin<Box<B>>, has_ended: bool) -> Self {
        Self {
            read,
            has_ended,
            body: BodyState::Pinned { body },
        }
    }

    pub(crate) fn get_ref(&self) -> &B {
        match &self.body {
            BodyState::Plain { body } => body,
            BodyState::Pinned { body } => body,
        }
    }
}

/// Creates a body of which nothing was read, such as for a fallback response.
impl<B: Body> From<B> for PeekedBody<B> {
    fn from(body: B) -> Self {
        Self {
            read: VecDeque::new(),
            has_ended: false,
            body: BodyState::Plain { body },
        }
    }
}

impl<B: Body> Body for PeekedBody<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Read<B>>> {
        let this = self.project();
        if let Some(frame) = this.read.pop_front() {
            if this.read.is_empty() {
                // Free the memory: a stream may run long after its beginning.
                drop(mem::take(this.read));
            }
            return Poll::Ready(Some(frame));
        }
        // Some bodies panic when polled after their end.
        if *this.has_ended {
            return Poll::Ready(None);
        }
        match this.body.project() {
            InsideProj::Plain { body } => body.poll_frame(cx),
            InsideProj::Pinned { body } => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && (self.has_ended || self.get_ref().is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(data);
        let read = read.map(|data| data.remaining() as u64);
        let read = read.fold(0, u64::saturating_add);
        let inside = if self.has_ended {
            SizeHint::with_exact(0)
        } else {
            self.get_ref().size_hint()
        };
        more_bytes(&inside, read)
    }
}

crate::http::body_macros::wraps_body!(PeekedBody<B: Body>);

crate::macros::debug!(impl<B: Body> Debug for PeekedBody<B> where B: std::fmt::Debug |self| {
    body: self.get_ref(),
    read: self.read.len(),
    ..
});
