//! The response body.

use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, SizeHint};
use http_body_util::{BodyExt, Empty, combinators::UnsyncBoxBody};

use super::{coalesce::Reader, entry::Entry};
use crate::{
    error::BoxError,
    http::{TextBody, guarded_body::FramePoll},
    sync::unpoisoned,
};

pub(super) type BoxedBody = UnsyncBoxBody<Bytes, BoxError>;

/// A body that a task can read for several requests.
pub(super) trait Shareable: Body<Error: Into<BoxError>> + Send + 'static {}

impl<B: Body<Error: Into<BoxError>> + Send + 'static> Shareable for B {}

/// The body of a response of a [`Cache`](super::Cache): the inner service's own, one that several
/// requests share, or one from the store.
#[must_use = "dropping it ends the request"]
pub struct ResponseBody {
    source: Source,
    /// The bytes that are left, if that is known and the body is not the inner service's own.
    rest: Option<u64>,
}

pub(super) enum Source {
    /// The lock is never contended. It makes the body `Sync`.
    Inner(Mutex<BoxedBody>),
    Shared(Reader),
    Cached {
        entry: Arc<Entry>,
        at: usize,
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

// ===== impl ResponseBody =====

impl ResponseBody {
    /// Creates a body that is passed on as it is, such as one of your own instead of a response's.
    pub fn new<B: Body<Error: Into<BoxError>> + Send + 'static>(body: B) -> Self {
        Self::of(Source::Inner(Mutex::new(boxed(body))), None)
    }

    /// Creates a body of `length` bytes.
    pub(super) const fn of(source: Source, length: Option<u64>) -> Self {
        let rest = length;
        Self { source, rest }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FramePoll<Self> {
        let frame = match &mut self.source {
            Source::Inner(body) => {
                return Pin::new(unpoisoned(body.get_mut())).poll_frame(cx);
            }
            Source::Shared(reader) => ready!(reader.poll_frame(cx)),
            Source::Cached { entry, at } => {
                let frame = entry.frames.get(*at);
                *at += usize::from(frame.is_some());
                frame.map(Ok)
            }
        };
        if let (Some(Ok(frame)), Some(rest)) = (&frame, &mut self.rest) {
            *rest = rest.saturating_sub(frame.data_ref().map_or(0, Bytes::len) as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Inner(body) => unpoisoned(body.lock()).is_end_stream(),
            Source::Shared(reader) => reader.is_end_stream(),
            Source::Cached { entry, at, .. } => *at >= entry.frames.end(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Inner(body) => unpoisoned(body.lock()).size_hint(),
            _ => self.rest.map(SizeHint::with_exact).unwrap_or_default(),
        }
    }
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

crate::macros::debug!(impl Debug for ResponseBody |self| { .. });
