//! The beginning of a body, read before the body is passed on.

use std::{
    collections::VecDeque,
    fmt,
    future::Future,
    io::IoSlice,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tokio::time::{Sleep, sleep};

type Read<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// A body whose beginning is being read.
pub(crate) struct Opening<B: Body> {
    body: Pin<Box<B>>,
    has_ended: bool,
    read: VecDeque<Read<B>>,
    /// How many bytes were read.
    bytes: usize,
    bounds: Bounds,
    /// Set once the body has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
}

/// How much of a body is read, and for how long it is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    pub(crate) bytes: usize,
    /// Many small frames cost more than their bytes.
    pub(crate) frames: usize,
    pub(crate) patience: Duration,
}

/// What came of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another frame: [`Opening::newest`] has its data.
    Frame,
    /// That was all.
    End,
    /// The body failed.
    Failed,
    /// A bound was reached.
    Enough,
}

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

// ===== impl Opening =====

impl<B: Body> Opening<B> {
    pub(crate) fn new(body: B, bounds: Bounds) -> Self {
        Self {
            body: Box::pin(body),
            has_ended: false,
            read: VecDeque::new(),
            bytes: 0,
            bounds,
            timer: None,
        }
    }

    /// Reads another frame, unless the end or a bound is reached. Not to be polled again after a failure.
    pub(crate) fn poll_step(&mut self, cx: &mut Context<'_>) -> Poll<Step> {
        if self.has_ended || self.body.is_end_stream() {
            return Poll::Ready(Step::End);
        }
        if self.bytes >= self.bounds.bytes || self.read.len() >= self.bounds.frames {
            return Poll::Ready(Step::Enough);
        }
        let Poll::Ready(frame) = self.body.as_mut().poll_frame(cx) else {
            return self.poll_patience(cx).map(|()| Step::Enough);
        };
        let Some(frame) = frame else {
            self.has_ended = true;
            return Poll::Ready(Step::End);
        };
        let step = match &frame {
            Ok(frame) => {
                let length = frame.data_ref().map_or(0, Buf::remaining);
                self.bytes = self.bytes.saturating_add(length);
                Step::Frame
            }
            Err(_) => Step::Failed,
        };
        self.read.push_back(frame);
        Poll::Ready(step)
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let patience = self.bounds.patience;
        if patience.is_zero() {
            return Poll::Ready(());
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(patience)));
        timer.as_mut().poll(cx)
    }

    /// The data of the newest frame, as far as the bound lets it be read. Whether that is all of what it should be.
    pub(crate) fn newest(&self, look: impl FnMut(&[u8])) -> bool {
        let Some(data) = self.read.back().and_then(data) else {
            return true;
        };
        let before = self.bytes - data.remaining().min(self.bytes);
        let room = self.bounds.bytes.saturating_sub(before);
        each_slice(data, room, look)
    }

    /// What was read, as far as the bound lets it be.
    pub(crate) fn text(&self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.bytes.min(self.bounds.bytes));
        for data in self.read.iter().filter_map(data) {
            let room = self.bounds.bytes - text.len();
            if !each_slice(data, room, |slice| text.extend_from_slice(slice)) {
                break;
            }
        }
        text
    }

    /// What the body failed with, if it did: it is passed on no more.
    pub(crate) fn take_error(&mut self) -> Option<B::Error> {
        match self.read.pop_back()? {
            Err(error) => Some(error),
            frame => {
                self.read.push_back(frame);
                None
            }
        }
    }

    /// The body, from its first byte on.
    pub(crate) fn into_body(self) -> Opened<B> {
        Opened {
            read: self.read,
            body: Inside::Pinned {
                body: self.body,
                has_ended: self.has_ended,
            },
        }
    }
}

fn data<D: Buf, E>(frame: &Result<Frame<D>, E>) -> Option<&D> {
    frame.as_ref().ok()?.data_ref()
}

/// Shows the first `most` bytes of `data` piece by piece; whether it could all be shown.
pub(crate) fn each_slice<D: Buf>(data: &D, most: usize, mut look: impl FnMut(&[u8])) -> bool {
    let wanted = data.remaining().min(most);
    let chunk = data.chunk();
    if chunk.len() >= wanted {
        look(&chunk[..wanted]);
        return true;
    }
    let mut slices = [IoSlice::new(&[]); 16];
    let count = data.chunks_vectored(&mut slices);
    let mut seen = 0;
    for slice in &slices[..count] {
        let end = slice.len().min(wanted - seen);
        look(&slice[..end]);
        seen += end;
    }
    seen == wanted
}

// ===== impl Opened =====

impl<B: Body> Opened<B> {
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
