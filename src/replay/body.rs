//! The request body.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::{
    ReplayError,
    record::RecordedFrame,
    shared::{BodySource, FrameResult, SharedRecord},
};
use crate::{
    error::BoxError,
    http::{PeekBody, ReplaceBody, TryClone, guarded_body::more_bytes},
    sync::{AtomicU64, Ordering},
};

/// A body that is recorded while it is sent, so that its clones can be sent again.
///
/// Made by a [`ReplayLayer`](super::ReplayLayer). See the [module docs](crate::replay) for what it
/// records.
///
/// A [clone](TryClone::try_clone) starts at the first byte, however much of the original was sent.
/// The clone that is polled for the first time takes over. Clones that were polled before return
/// [`ReplayError::Superseded`] from then on, unless they are at their end. So does a clone that is
/// first polled after another one was [claimed](TryClone::claim).
pub struct ReplayBody<B> {
    shared: Arc<SharedRecord<B>>,
    /// The number of the attempt that sends the body; 0 until it is polled.
    number: u64,
    /// The number of claims when this body, or the one it was cloned from, was claimed.
    claimed: AtomicU64,
    at: At,
    sent: u64,
}

/// The position of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// Before this item of the record.
    Record(usize),
    /// After the record.
    BodySource,
    End,
}

// ===== impl ReplayBody =====

impl<B: Body> ReplayBody<B> {
    /// Creates a body that records up to `max_bytes` of `body` while it is sent.
    pub fn new(body: B, max_bytes: usize) -> Self {
        Self::of(Arc::new(SharedRecord::new(body, max_bytes)))
    }
}

impl<B> ReplayBody<B> {
    fn of(shared: Arc<SharedRecord<B>>) -> Self {
        Self {
            shared,
            number: 0,
            claimed: AtomicU64::new(0),
            at: At::Record(0),
            sent: 0,
        }
    }

    /// Makes this the attempt that reads, if it was not polled before.
    fn begin(&mut self) -> Result<(), ReplayError> {
        if self.number == 0 {
            // Another attempt was claimed in place of this one.
            if self.claimed.load(Ordering::Relaxed) < self.shared.lock().claims {
                return Err(ReplayError::Superseded);
            }
            self.number = self.shared.claim().ok_or(ReplayError::NotWhole)?;
            #[cfg(feature = "tracing")]
            if self.number > 1 {
                let state = self.shared.lock();
                let recorded = state.record.as_ref().map(|record| record.data());
                tracing::debug!(
                    target: "tower_throttle::replay",
                    recorded, "sending a recorded body again"
                );
            }
        }
        Ok(())
    }
}

impl<B: Body> ReplayBody<B>
where
    B::Error: Into<BoxError>,
{
    fn poll_next(&mut self, cx: &mut Context<'_>) -> FrameResult {
        let mut state = self.shared.lock();
        if state.newest != self.number {
            return Poll::Ready(Some(Err(ReplayError::Superseded.into())));
        }
        if let At::Record(index) = self.at {
            let record = state.record.as_ref();
            if let Some(item) = record.and_then(|record| record.get(index)).cloned() {
                self.at = At::Record(index + 1);
                return Poll::Ready(Some(Ok(match item {
                    RecordedFrame::Data(data) => Frame::data(data),
                    RecordedFrame::Trailers(trailers) => Frame::trailers(trailers),
                })));
            }
            self.at = At::BodySource;
        }
        // There is no other clone.
        if Arc::strong_count(&self.shared) == 1 {
            state.record = None;
        }
        state.poll_source(cx)
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> FrameResult {
        if self.at == At::End {
            return Poll::Ready(None);
        }
        let frame = match self.begin() {
            Ok(()) => ready!(self.poll_next(cx)),
            Err(error) => Some(Err(error.into())),
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

    fn is_end_stream(&self) -> bool {
        if self.at == At::End {
            return true;
        }
        let state = self.shared.lock();
        if self.number != 0 && self.number != state.newest {
            // An error is still to come.
            return false;
        }
        let record = state.record.as_ref();
        let is_replayed = match self.at {
            At::Record(index) => record.is_some_and(|record| record.ends_at(index)),
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
        let source = match &state.source {
            BodySource::Open(body) => body.size_hint(),
            // If the original has no exact length, neither has a replay, because there may be
            // trailers.
            BodySource::Ended | BodySource::Failed => SizeHint::new(),
        };
        more_bytes(&source, recorded)
    }
}

/// Always returns a clone. Whether it [can be sent](TryClone::is_replayable) may change while the
/// original is sent.
impl<B> TryClone for ReplayBody<B> {
    fn try_clone(&self) -> Option<Self> {
        let clone = Self::of(self.shared.clone());
        let claimed = self.claimed.load(Ordering::Relaxed);
        clone.claimed.store(claimed, Ordering::Relaxed);
        Some(clone)
    }

    fn is_replayable(&self) -> bool {
        self.shared.lock().record.is_some()
    }

    fn claim(&self) -> bool {
        let mut state = self.shared.lock();
        state.claims += 1;
        self.claimed.store(state.claims, Ordering::Relaxed);
        drop(state);
        self.shared.claim().is_some()
    }
}

/// Returns what the original returns until some of it is sent. After that, returns the recorded
/// body if it is complete and in one piece.
impl<B: Body + PeekBody> PeekBody for ReplayBody<B> {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        if self.at != At::Record(0) {
            return None;
        }
        let state = self.shared.lock();
        let record = state.record.as_ref()?;
        match &state.source {
            BodySource::Open(body) if record.is_empty() => body.peek(look),
            source if source.is_ended() => record.whole().map(look),
            _ => None,
        }
    }
}

/// Replaces the bytes of this body only; existing clones do not change.
impl<B> ReplaceBody for ReplayBody<B> {
    fn replace_body(&mut self, bytes: Bytes) -> bool {
        *self = Self::of(Arc::new(SharedRecord::recorded(&bytes)));
        true
    }
}

crate::macros::debug!(impl<B> Debug for ReplayBody<B> |self| {
    is_replayable: self.is_replayable(),
    sent,
    ..
});
