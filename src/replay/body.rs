//! The request's body.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    ReplayError,
    record::Item,
    shared::{Polled, Shared, Source},
};
#[cfg(any(feature = "cache", feature = "provider"))]
use crate::PeekBody;
#[cfg(feature = "provider")]
use crate::ReplaceBody;
use crate::{BoxError, TryClone};

/// A body that is recorded while it is sent, so that its clones can be sent again.
///
/// Made by a [`ReplayLayer`](super::ReplayLayer). See the [module docs](crate::replay) for what it keeps, and for how long.
///
/// A [clone](TryClone::try_clone) begins at the first byte, however much of the original was sent. Which of them was polled first
/// is of no account: one that is polled for the first time takes over, and those that were polled before get
/// [`ReplayError::Superseded`] from then on, unless they had come to their end.
pub struct ReplayBody<B>(Kind<B>);

enum Kind<B> {
    Recorded(Attempt<B>),
    /// Another body that was put in its place.
    #[cfg_attr(
        not(feature = "provider"),
        allow(dead_code, reason = "nobody else replaces bodies")
    )]
    Replaced {
        bytes: Option<Bytes>,
    },
}

/// One attempt to send the body.
struct Attempt<B> {
    shared: Arc<Shared<B>>,
    /// 0 until it is polled.
    number: u64,
    at: At,
    sent: u64,
}

/// Where an attempt stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before this item of the record.
    Record(usize),
    /// Past the record.
    Source,
    End,
}

// ===== impl ReplayBody =====

impl<B: Body> ReplayBody<B> {
    /// Takes up to `max_bytes` of `body` down while it is sent.
    pub fn new(body: B, max_bytes: usize) -> Self {
        Self(Kind::Recorded(Attempt::new(Arc::new(Shared::new(
            body, max_bytes,
        )))))
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Polled {
        match &mut self.0 {
            Kind::Recorded(attempt) => attempt.poll_frame(cx),
            Kind::Replaced { bytes } => {
                Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Recorded(attempt) => attempt.is_end_stream(),
            Kind::Replaced { bytes } => bytes.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Recorded(attempt) => attempt.size_hint(),
            Kind::Replaced { bytes } => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

/// Always gives a clone. Whether it [can be sent](TryClone::is_whole) may change while the original is.
impl<B> TryClone for ReplayBody<B> {
    fn try_clone(&self) -> Option<Self> {
        Some(Self(match &self.0 {
            Kind::Recorded(attempt) => Kind::Recorded(Attempt::new(attempt.shared.clone())),
            Kind::Replaced { bytes } => Kind::Replaced {
                bytes: bytes.clone(),
            },
        }))
    }

    fn is_whole(&self) -> bool {
        match &self.0 {
            Kind::Recorded(attempt) => attempt.shared.lock().record.is_some(),
            Kind::Replaced { .. } => true,
        }
    }

    fn take_over(&self) -> bool {
        match &self.0 {
            Kind::Recorded(attempt) => attempt.shared.take_over().is_some(),
            Kind::Replaced { .. } => true,
        }
    }
}

/// Shows what the original does until some of it was sent, and then what was recorded, if it was sent to its end and is in one
/// piece.
#[cfg(any(feature = "cache", feature = "provider"))]
impl<B: Body + PeekBody> PeekBody for ReplayBody<B> {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        match &self.0 {
            Kind::Replaced { bytes } => Some(look(bytes.as_deref().unwrap_or_default())),
            Kind::Recorded(attempt) if attempt.at == At::Record(0) => {
                let state = attempt.shared.lock();
                let record = state.record.as_ref()?;
                match &state.source {
                    Source::Open(body) if record.is_empty() => body.peek(look),
                    source if source.is_ended() => record.whole().map(look),
                    _ => None,
                }
            }
            Kind::Recorded(_) => None,
        }
    }
}

/// Puts the bytes in the place of this body alone: clones that were made before stay what they are.
#[cfg(feature = "provider")]
impl<B> ReplaceBody for ReplayBody<B> {
    fn replace_body(&mut self, bytes: Bytes) -> bool {
        let bytes = (!bytes.is_empty()).then_some(bytes);
        self.0 = Kind::Replaced { bytes };
        true
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut body = f.debug_struct("ReplayBody");
        body.field("is_whole", &self.is_whole());
        if let Kind::Recorded(attempt) = &self.0 {
            body.field("sent", &attempt.sent);
        }
        body.finish_non_exhaustive()
    }
}

// ===== impl Attempt =====

impl<B> Attempt<B> {
    fn new(shared: Arc<Shared<B>>) -> Self {
        Self {
            shared,
            number: 0,
            at: At::Record(0),
            sent: 0,
        }
    }

    /// Makes this the attempt that reads, if it never was.
    fn begin(&mut self) -> Result<(), ReplayError> {
        if self.number == 0 {
            self.number = self.shared.take_over().ok_or(ReplayError::NotWhole)?;
            #[cfg(feature = "tracing")]
            if self.number > 1 {
                let recorded = self
                    .shared
                    .lock()
                    .record
                    .as_ref()
                    .map(|record| record.data());
                tracing::debug!(recorded, "sending a recorded body again");
            }
        }
        Ok(())
    }
}

impl<B: Body> Attempt<B>
where
    B::Error: Into<BoxError>,
{
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Polled {
        if self.at == At::End {
            return Poll::Ready(None);
        }
        let begun = self.begin().map_err(BoxError::from);
        let frame = match begun {
            Ok(()) => ready!(self.poll_next(cx)),
            Err(error) => Some(Err(error)),
        };
        match &frame {
            Some(Ok(frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len);
                self.sent = self.sent.saturating_add(length as u64);
            }
            _ => self.at = At::End,
        }
        Poll::Ready(frame)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Polled {
        let mut state = self.shared.lock();
        if state.newest != self.number {
            return Poll::Ready(Some(Err(ReplayError::Superseded.into())));
        }
        if let At::Record(index) = self.at {
            let item = match &state.record {
                Some(record) => record.get(index).cloned(),
                // The original panicked.
                None => return Poll::Ready(Some(Err(ReplayError::NotWhole.into()))),
            };
            if let Some(item) = item {
                self.at = At::Record(index + 1);
                return Poll::Ready(Some(Ok(match item {
                    Item::Data(data) => Frame::data(data),
                    Item::Trailers(trailers) => Frame::trailers(trailers),
                })));
            }
            self.at = At::Source;
        }
        // Nobody else will ever send this body.
        if Arc::strong_count(&self.shared) == 1 {
            state.record = None;
        }
        state.poll_source(cx)
    }
}

impl<B: Body> Attempt<B> {
    fn is_end_stream(&self) -> bool {
        if self.at == At::End {
            return true;
        }
        let state = self.shared.lock();
        if self.number != 0 && self.number != state.newest {
            // There is an error to come.
            return false;
        }
        let is_replayed = match self.at {
            At::Record(index) => state
                .record
                .as_ref()
                .is_some_and(|record| record.ends_at(index)),
            _ => true,
        };
        is_replayed && state.source.is_ended()
    }

    fn size_hint(&self) -> SizeHint {
        if let Some(exact) = self.shared.exact {
            return SizeHint::with_exact(exact.saturating_sub(self.sent));
        }
        let state = self.shared.lock();
        let recorded = match (&state.record, self.at) {
            (Some(record), At::Record(_)) => record.data().saturating_sub(self.sent),
            _ => 0,
        };
        let mut hint = match &state.source {
            Source::Open(body) => body.size_hint(),
            // Where the original told no length, neither does a replay: there may be trailers.
            Source::Ended | Source::Failed => SizeHint::new(),
        };
        if let Some(upper) = hint.upper().and_then(|upper| upper.checked_add(recorded)) {
            hint.set_upper(upper);
        } else {
            let lower = hint.lower();
            hint = SizeHint::new();
            hint.set_lower(lower);
        }
        hint.set_lower(hint.lower().saturating_add(recorded));
        hint
    }
}
