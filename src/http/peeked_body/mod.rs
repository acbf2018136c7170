//! The beginning of a body, read before the body is passed on.

mod opened;

use std::{
    collections::VecDeque,
    future::Future,
    io::IoSlice,
    mem,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http_body::{Body, Frame};
use tokio::time::{Instant, Sleep, sleep};

pub use self::opened::PeekedBody;

type Read<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// A body whose beginning is being read.
pub(crate) struct BodyPeek<B: Body> {
    body: Pin<Box<B>>,
    has_ended: bool,
    read: VecDeque<Read<B>>,
    /// How many bytes were read.
    bytes: usize,
    bounds: ReadLimits,
    /// Set once the body has to be waited for.
    timer: Option<Pin<Box<Sleep>>>,
    /// The patience was over the last time, and the body is asked once more.
    asked_again: bool,
}

/// How much of a body is read, and for how long it is waited for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimits {
    pub(crate) bytes: usize,
    /// Many small frames cost more than their bytes.
    pub(crate) frames: usize,
    pub(crate) patience: Duration,
}

/// What came of one step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Another frame: [`BodyPeek::newest`] has its data.
    Frame,
    /// That was all.
    End,
    /// The body failed.
    Failed,
    /// A bound was reached.
    Enough,
}

// ===== impl BodyPeek =====

impl<B: Body> BodyPeek<B> {
    pub(crate) fn new(body: B, bounds: ReadLimits) -> Self {
        Self {
            body: Box::pin(body),
            has_ended: false,
            read: VecDeque::new(),
            bytes: 0,
            bounds,
            timer: None,
            asked_again: false,
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
        if timer.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        if Instant::now() < timer.deadline() {
            return Poll::Pending;
        }
        // In a task that has used up its budget of tokio's nothing is found, whatever is there, and no timer goes off. There
        // the body is asked again, with a new budget; but once, since it might use up all of it each time.
        if mem::replace(&mut self.asked_again, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
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

    /// Whether more has come than the bound lets be read.
    pub(crate) const fn is_cut(&self) -> bool {
        self.bytes > self.bounds.bytes
    }

    /// What the body failed with, if that was the last step: it is passed on no more.
    pub(crate) fn take_error(&mut self) -> Option<B::Error> {
        self.read.pop_back()?.err()
    }

    /// The body, from its first byte on.
    pub(crate) fn into_body(self) -> PeekedBody<B> {
        PeekedBody::new(self.read, self.body, self.has_ended)
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
