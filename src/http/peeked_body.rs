//! Reads the beginning of a body before the body is passed on.

use std::{
    collections::VecDeque,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::Instant;

use crate::http::{
    guarded_body::more_bytes,
    peek_body::each_slice,
    timer::{FAR, Timer},
};

type Read<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// The limit on frames: many small ones cost more than their bytes.
const MAX_FRAMES: usize = 256;

/// A body whose beginning is being read.
pub(crate) struct BodyPeek<B: Body> {
    body: Pin<Box<B>>,
    has_ended: bool,
    read: VecDeque<Read<B>>,
    /// The number of bytes read, and its limit.
    bytes: usize,
    max_bytes: usize,
    timer: Timer,
    /// The end of the patience.
    until: Instant,
}

/// The result of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another frame: [`BodyPeek::newest`] reads its data.
    Frame,
    /// The body has ended.
    End,
    /// The body returned an error.
    Failed,
    /// A limit was reached.
    Enough,
}

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

// ===== impl BodyPeek =====

impl<B: Body> BodyPeek<B> {
    /// Reads up to `max_bytes` of `body`, for no longer than `patience`.
    pub(crate) fn new(body: B, max_bytes: usize, patience: Duration) -> Self {
        Self {
            body: Box::pin(body),
            has_ended: false,
            read: VecDeque::new(),
            bytes: 0,
            max_bytes,
            timer: Timer::default(),
            until: Instant::now() + patience.min(FAR),
        }
    }

    /// Reads another frame, up to the end or a limit. Must not be polled again after a failure.
    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.has_ended || self.body.is_end_stream() {
            return Poll::Ready(Step::End);
        }
        if self.bytes >= self.max_bytes || self.read.len() >= MAX_FRAMES {
            return Poll::Ready(Step::Enough);
        }
        let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) else {
            let patience = self.timer.poll(self.until, Instant::now(), cx);
            return patience.map(|()| Step::Enough);
        };
        let Some(frame) = frame else {
            self.has_ended = true;
            return Poll::Ready(Step::End);
        };
        let length = data(&frame).map_or(0, Buf::remaining);
        self.bytes = self.bytes.saturating_add(length);
        let step = match frame {
            Ok(_) => Step::Frame,
            Err(_) => Step::Failed,
        };
        self.read.push_back(frame);
        Poll::Ready(step)
    }

    /// Passes the data of the newest frame up to the limit to `look`. Returns `true` if that is all
    /// of it.
    pub(crate) fn newest(&self, look: impl FnMut(&[u8])) -> bool {
        let Some(data) = self.read.back().and_then(data) else {
            return true;
        };
        let before = self.bytes - data.remaining().min(self.bytes);
        let room = self.max_bytes.saturating_sub(before);
        each_slice(data, room, look)
    }

    /// Returns the bytes read, up to the limit.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.bytes.min(self.max_bytes));
        for data in self.read.iter().filter_map(data) {
            let room = self.max_bytes - text.len();
            if !each_slice(data, room, |slice| text.extend_from_slice(slice)) {
                break;
            }
        }
        text
    }

    /// Returns `true` if more has arrived than the limit.
    pub(crate) const fn is_cut(&self) -> bool {
        self.bytes > self.max_bytes
    }

    /// Takes the error of the body, if that was the last step. It is then not passed on.
    pub(crate) fn take_error(&mut self) -> Option<B::Error> {
        self.read.pop_back()?.err()
    }

    /// Returns the body, from its first byte on.
    pub(crate) fn into_body(self) -> PeekedBody<B> {
        PeekedBody {
            read: self.read,
            has_ended: self.has_ended,
            body: BodyState::Pinned { body: self.body },
        }
    }
}

fn data<D: Buf, E>(frame: &Result<Frame<D>, E>) -> Option<&D> {
    frame.as_ref().ok()?.data_ref()
}

// ===== impl PeekedBody =====

impl<B: Body> PeekedBody<B> {
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
        let inside = match self.has_ended {
            true => SizeHint::with_exact(0),
            false => self.get_ref().size_hint(),
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
