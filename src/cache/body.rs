//! The body of a response.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, SizeHint};
use http_body_util::Empty;

use super::{
    channel::{Channel, Polled},
    entry::Entry,
    head::Head,
    original::{Original, erase},
    patience::Patience,
};
use crate::{BoxError, refusal::TextBody};

/// The body of a response that passed a [`Cache`](super::Cache): the inner service's own, one that is shared with other
/// requests and taken down, or one that was kept.
#[must_use = "dropping it ends the request"]
pub struct ResponseBody(Inside);

enum Inside {
    /// Behind a lock that is never waited for, so that it can be looked at from anywhere.
    Plain(Mutex<Original>),
    Shared(Reader),
    Kept {
        entry: Arc<Entry>,
        at: usize,
    },
}

/// One who reads a [`Channel`].
pub(super) struct Reader {
    channel: Arc<Channel>,
    id: u64,
    at: usize,
    sent: u64,
    has_ended: bool,
    patience: Patience,
}

// ===== impl ResponseBody =====

impl ResponseBody {
    /// A body that passes as it is, such as one of your own in place of an answer.
    pub fn new<B>(body: B) -> Self
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self(Inside::Plain(Mutex::new(erase(body))))
    }

    pub(super) const fn shared(reader: Reader) -> Self {
        Self(Inside::Shared(reader))
    }

    pub(super) const fn kept(entry: Arc<Entry>) -> Self {
        Self(Inside::Kept { entry, at: 0 })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match &mut self.0 {
            Inside::Plain(body) => {
                let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
                Pin::new(body).poll_frame(cx)
            }
            Inside::Shared(reader) => reader.poll_frame(cx),
            Inside::Kept { entry, at } => {
                let frame = entry.body.frame(*at);
                *at += usize::from(frame.is_some());
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inside::Plain(body) => lock(body).is_end_stream(),
            Inside::Shared(reader) => reader.is_end_stream(),
            Inside::Kept { entry, at } => *at >= entry.body.frames(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inside::Plain(body) => lock(body).size_hint(),
            Inside::Shared(reader) => reader.size_hint(),
            Inside::Kept { entry, at } => {
                let left = entry.body.data_from(*at);
                hint(left, !entry.body.has_trailers())
            }
        }
    }
}

fn lock(body: &Mutex<Original>) -> MutexGuard<'_, Original> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
}

fn hint(left: u64, is_exact: bool) -> SizeHint {
    if is_exact {
        return SizeHint::with_exact(left);
    }
    let mut hint = SizeHint::new();
    hint.set_lower(left);
    hint
}

impl Default for ResponseBody {
    fn default() -> Self {
        Self::new(Empty::<Bytes>::new())
    }
}

impl TextBody for ResponseBody {
    fn from_text(text: String) -> Self {
        Self::new(text)
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inside = match &self.0 {
            Inside::Plain(_) => "Plain",
            Inside::Shared(_) => "Shared",
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
            patience: Patience::default(),
        }
    }

    pub(super) fn head(&self) -> &Head {
        &self.channel.head
    }

    /// The answer with its head as others have it.
    pub(super) fn respond(self) -> http::Response<ResponseBody> {
        let head = self.channel.head.clone();
        head.respond(ResponseBody::shared(self))
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let polled = self
            .channel
            .poll_frame(self.id, self.at, &mut self.patience, cx);
        let frame = ready!(polled);
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

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.channel.leave(self.id);
    }
}
