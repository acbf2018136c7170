//! The whole body, once its beginning was read.

use std::{
    collections::VecDeque,
    fmt, mem,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Buf;
use http_body::{Body, SizeHint};
use pin_project_lite::pin_project;

use super::{Read, data};

pin_project! {
    /// A body of which the beginning may have been read: it passes that on, and then the rest.
    pub(crate) struct Opened<B: Body> {
        read: VecDeque<Read<B>>,
        #[pin]
        body: Inside<B>,
    }
}

pin_project! {
    #[project = InsideProj]
    enum Inside<B> {
        Plain { #[pin] body: B },
        // One that was polled already can't be moved any more.
        Pinned { body: Pin<Box<B>>, has_ended: bool },
    }
}

// ===== impl Opened =====

impl<B: Body> Opened<B> {
    pub(super) const fn new(read: VecDeque<Read<B>>, body: Pin<Box<B>>, has_ended: bool) -> Self {
        let body = Inside::Pinned { body, has_ended };
        Self { read, body }
    }

    pub(crate) fn get_ref(&self) -> &B {
        match &self.body {
            Inside::Plain { body } => body,
            Inside::Pinned { body, .. } => body,
        }
    }
}

/// A body of which nothing was read.
impl<B: Body> From<B> for Opened<B> {
    fn from(body: B) -> Self {
        Self {
            read: VecDeque::new(),
            body: Inside::Plain { body },
        }
    }
}

impl<B: Body> Body for Opened<B> {
    type Data = B::Data;
    type Error = B::Error;

    #[inline]
    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Read<B>>> {
        let this = self.project();
        if let Some(frame) = this.read.pop_front() {
            if this.read.is_empty() {
                // A stream may go on for long after its beginning.
                drop(mem::take(this.read));
            }
            return Poll::Ready(Some(frame));
        }
        match this.body.project() {
            InsideProj::Plain { body } => body.poll_frame(cx),
            // Some panic when they are polled after their end.
            InsideProj::Pinned { has_ended, .. } if *has_ended => Poll::Ready(None),
            InsideProj::Pinned { body, .. } => body.as_mut().poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty()
            && match &self.body {
                Inside::Plain { body } => body.is_end_stream(),
                Inside::Pinned { body, has_ended } => *has_ended || body.is_end_stream(),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let read = self.read.iter().filter_map(data);
        let read = read
            .map(|data| data.remaining() as u64)
            .fold(0, u64::saturating_add);
        let inside = match &self.body {
            Inside::Plain { body } => body.size_hint(),
            Inside::Pinned {
                has_ended: true, ..
            } => SizeHint::with_exact(0),
            Inside::Pinned { body, .. } => body.size_hint(),
        };
        let mut hint = SizeHint::new();
        hint.set_lower(inside.lower().saturating_add(read));
        if let Some(upper) = inside.upper().and_then(|upper| upper.checked_add(read)) {
            hint.set_upper(upper);
        }
        hint
    }
}

impl<B: Body + fmt::Debug> fmt::Debug for Opened<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Opened")
            .field("body", self.get_ref())
            .field("read", &self.read.len())
            .finish()
    }
}
