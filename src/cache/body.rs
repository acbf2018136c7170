//! The response body.

use std::{
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};

use super::{coalesce::Reader, entry::Entry};
use crate::{error::BoxError, http::TextBody};

pub(super) type BoxedBody = UnsyncBoxBody<Bytes, BoxError>;

/// A body that a task can read for several requests.
pub(super) trait Shareable: Body<Error: Into<BoxError>> + Send + 'static {}

impl<B: Body<Error: Into<BoxError>> + Send + 'static> Shareable for B {}

/// The body of a response of a [`Cache`](super::Cache): the inner service's own, one that several
/// requests share, or one from the store.
#[must_use = "dropping it ends the request"]
pub struct ResponseBody(Inner);

enum Inner {
    /// The lock is never contended. It makes the body `Sync`.
    Passed(Mutex<BoxedBody>),
    Shared(Reader),
    Cached {
        entry: Arc<Entry>,
        at: usize,
        read: u64,
    },
}

/// Nothing is copied if the data are `Bytes`.
pub(super) fn boxed<B: Shareable>(body: B) -> BoxedBody {
    let bytes = |mut data: B::Data| data.copy_to_bytes(data.remaining());
    UnsyncBoxBody::new(
        body.map_frame(move |frame| frame.map_data(bytes))
            .map_err(Into::into),
    )
}

/// Returns the hint of a body of which some bytes were read.
pub(super) fn size_hint(length: Option<u64>, read: u64) -> SizeHint {
    length.map_or_else(SizeHint::default, |length| {
        SizeHint::with_exact(length.saturating_sub(read))
    })
}

// ===== impl ResponseBody =====

impl ResponseBody {
    /// Creates a body that is passed on as it is, such as one of your own instead of a response's.
    pub fn new<B>(body: B) -> Self
    where
        B: Body + Send + 'static,
        B::Error: Into<BoxError>,
    {
        Self::boxed(boxed(body))
    }

    pub(super) const fn boxed(body: BoxedBody) -> Self {
        Self(Inner::Passed(Mutex::new(body)))
    }

    pub(super) const fn shared(reader: Reader) -> Self {
        Self(Inner::Shared(reader))
    }

    pub(super) const fn cached(entry: Arc<Entry>) -> Self {
        let (at, read) = (0, 0);
        Self(Inner::Cached { entry, at, read })
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Inner::Passed(body) => {
                let body = body.get_mut().unwrap_or_else(PoisonError::into_inner);
                Pin::new(body).poll_frame(cx)
            }
            Inner::Shared(reader) => reader.poll_frame(cx),
            Inner::Cached { entry, at, read } => {
                let frame = entry.frames.get(*at);
                let data = frame.as_ref().and_then(Frame::data_ref);
                *read += data.map_or(0, Bytes::len) as u64;
                *at += usize::from(frame.is_some());
                Poll::Ready(frame.map(Ok))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Passed(body) => lock(body).is_end_stream(),
            Inner::Shared(reader) => reader.is_end_stream(),
            Inner::Cached { entry, at, .. } => *at >= entry.frames.end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Passed(body) => lock(body).size_hint(),
            Inner::Shared(reader) => reader.size_hint(),
            Inner::Cached { entry, read, .. } => size_hint(entry.length, *read),
        }
    }
}

fn lock(body: &Mutex<BoxedBody>) -> MutexGuard<'_, BoxedBody> {
    body.lock().unwrap_or_else(PoisonError::into_inner)
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
        let inner = match &self.0 {
            Inner::Passed(_) => "Passed",
            Inner::Shared(_) => "Shared",
            Inner::Cached { .. } => "Cached",
        };
        f.debug_tuple("ResponseBody").field(&inner).finish()
    }
}
