//! The body of a response.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::{
    channel::{Channel, Polled},
    entry::Entry,
};
use crate::BoxError;

pin_project! {
    /// The body of a response that passed a [`Cache`](super::Cache): the inner service's own, one that is shared with
    /// other requests and taken down, or one that was kept.
    #[must_use = "dropping it ends the request"]
    pub struct ResponseBody<B> {
        #[pin]
        inside: Inside<B>,
    }
}

pin_project! {
    #[project = InsideProj]
    enum Inside<B> {
        Plain { #[pin] body: B },
        Shared { reader: Reader },
        Kept { entry: Arc<Entry>, at: usize },
    }
}

/// One who reads a [`Channel`].
pub(super) struct Reader {
    channel: Arc<Channel>,
    id: u64,
    at: usize,
    sent: u64,
    has_ended: bool,
}

// ===== impl ResponseBody =====

impl<B> ResponseBody<B> {
    pub(super) fn shared(reader: Reader) -> Self {
        let inside = Inside::Shared { reader };
        Self { inside }
    }

    pub(super) fn kept(entry: Arc<Entry>) -> Self {
        let inside = Inside::Kept { entry, at: 0 };
        Self { inside }
    }
}

impl<B> Body for ResponseBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match self.project().inside.project() {
            InsideProj::Plain { body } => {
                let frame = ready!(body.poll_frame(cx));
                let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
                Poll::Ready(frame.map(|frame| match frame {
                    Ok(frame) => Ok(frame.map_data(bytes)),
                    Err(error) => Err(error.into()),
                }))
            }
            InsideProj::Shared { reader } => reader.poll_frame(cx),
            InsideProj::Kept { entry, at } => {
                let frame = entry.body.frame(*at);
                *at += usize::from(frame.is_some());
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.inside {
            Inside::Plain { body } => body.is_end_stream(),
            Inside::Shared { reader } => reader.is_end_stream(),
            Inside::Kept { entry, at } => *at >= entry.body.frames(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.inside {
            Inside::Plain { body } => body.size_hint(),
            Inside::Shared { reader } => reader.size_hint(),
            Inside::Kept { entry, at } => {
                let left = entry.body.data_from(*at);
                hint(left, !entry.body.has_trailers())
            }
        }
    }
}

fn hint(left: u64, is_exact: bool) -> SizeHint {
    if is_exact {
        return SizeHint::with_exact(left);
    }
    let mut hint = SizeHint::new();
    hint.set_lower(left);
    hint
}

/// A body that passes as it is, such as one of your own in place of an answer.
impl<B> From<B> for ResponseBody<B> {
    fn from(body: B) -> Self {
        let inside = Inside::Plain { body };
        Self { inside }
    }
}

impl<B: Default> Default for ResponseBody<B> {
    fn default() -> Self {
        B::default().into()
    }
}

impl<B> fmt::Debug for ResponseBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = match &self.inside {
            Inside::Plain { .. } => "Plain",
            Inside::Shared { .. } => "Shared",
            Inside::Kept { .. } => "Kept",
        };
        f.debug_tuple("ResponseBody").field(&inside).finish()
    }
}

// ===== impl Reader =====

impl Reader {
    /// The one with this number, which must have been let in.
    pub(super) fn new(channel: Arc<Channel>, id: u64) -> Self {
        Self {
            channel,
            id,
            at: 0,
            sent: 0,
            has_ended: false,
        }
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame: Option<Result<Frame<Bytes>, BoxError>> =
            ready!(self.channel.poll_frame(self.id, self.at, cx));
        match &frame {
            Some(Ok(frame)) => {
                self.at += 1;
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.sent = self.sent.saturating_add(length as u64);
            }
            _ => self.has_ended = true,
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.channel.has_ended(self.id, self.at)
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(exact) = self.channel.exact {
            return SizeHint::with_exact(exact.saturating_sub(self.sent));
        }
        let (left, is_all) = self.channel.left(self.at);
        hint(left, is_all)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.channel.leave(self.id);
    }
}
