//! Reads the beginning of a body before the body is passed on.

mod opened;

use std::{
    collections::VecDeque,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Buf;
use http_body::{Body, Frame};
use tokio::time::Instant;

pub use self::opened::PeekedBody;
use crate::http::{peek_body::each_slice, timer::Timer};

type Read<B> = Result<Frame<<B as Body>::Data>, <B as Body>::Error>;

/// A body whose beginning is being read.
pub(crate) struct BodyPeek<B: Body> {
    body: Pin<Box<B>>,
    has_ended: bool,
    read: VecDeque<Read<B>>,
    /// The number of bytes read.
    bytes: usize,
    bounds: ReadLimits,
    timer: Timer,
    /// The end of the patience, once the body has to be waited for; `None` within if it has none.
    until: Option<Option<Instant>>,
}

/// The limits on what is read, and the timeout.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ReadLimits {
    pub(crate) bytes: usize,
    /// Many small frames cost more than their bytes.
    pub(crate) frames: usize,
    pub(crate) patience: Duration,
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

// ===== impl BodyPeek =====

impl<B: Body> BodyPeek<B> {
    pub(crate) fn new(body: B, bounds: ReadLimits) -> Self {
        Self {
            body: Box::pin(body),
            has_ended: false,
            read: VecDeque::new(),
            bytes: 0,
            bounds,
            timer: Timer::default(),
            until: None,
        }
    }

    /// Reads another frame, up to the end or a limit. Must not be polled again after a failure.
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
        let now = Instant::now();
        let patience = self.bounds.patience;
        match self.until.get_or_insert_with(|| now.checked_add(patience)) {
            Some(until) => self.timer.poll(*until, now, cx),
            None => Poll::Pending,
        }
    }

    /// Passes the data of the newest frame up to the limit to `look`. Returns `true` if that is all
    /// of it.
    pub(crate) fn newest(&self, look: impl FnMut(&[u8])) -> bool {
        let Some(data) = self.read.back().and_then(data) else {
            return true;
        };
        let before = self.bytes - data.remaining().min(self.bytes);
        let room = self.bounds.bytes.saturating_sub(before);
        each_slice(data, room, look)
    }

    /// Returns the bytes read, up to the limit.
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

    /// Returns `true` if more has arrived than the limit.
    pub(crate) const fn is_cut(&self) -> bool {
        self.bytes > self.bounds.bytes
    }

    /// Takes the error of the body, if that was the last step. It is then not passed on.
    pub(crate) fn take_error(&mut self) -> Option<B::Error> {
        self.read.pop_back()?.err()
    }

    /// Returns the body, from its first byte on.
    pub(crate) fn into_body(self) -> PeekedBody<B> {
        PeekedBody::new(self.read, self.body, self.has_ended)
    }
}

fn data<D: Buf, E>(frame: &Result<Frame<D>, E>) -> Option<&D> {
    frame.as_ref().ok()?.data_ref()
}
