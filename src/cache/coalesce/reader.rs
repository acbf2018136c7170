use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::flight::{CloseReason, Flight, Phase, State};
use crate::{
    cache::{body::size_hint, error::SharedBodyError, head::Head},
    error::BoxError,
};

/// A request that reads the response of a flight. Dropping it leaves the flight.
pub(in crate::cache) struct Reader {
    pub(super) flight: Arc<Flight>,
    id: u64,
    /// Bytes that were read.
    read: u64,
    has_ended: bool,
}

// ===== impl Reader =====

impl Reader {
    /// Returns `None` if the response can't be shared any more, or `accepts` not its head.
    pub(in crate::cache) fn follow(
        flight: &Arc<Flight>,
        accepts: impl FnOnce(&Head) -> bool,
    ) -> Option<Self> {
        let id = flight.follow(accepts)?;
        Some(Self::new(flight.clone(), id))
    }

    pub(super) const fn new(flight: Arc<Flight>, id: u64) -> Self {
        Self {
            flight,
            id,
            read: 0,
            has_ended: false,
        }
    }

    pub(super) fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<Arc<Head>, CloseReason>> {
        let mut state = self.flight.lock();
        let State { phase, readers, .. } = &mut *state;
        let Some(cursor) = readers.get_mut(&self.id) else {
            return Poll::Ready(Err(CloseReason::Gone));
        };
        Poll::Ready(match phase {
            Phase::Calling => {
                cursor.wait(cx);
                return Poll::Pending;
            }
            Phase::Closed(reason) => Err(*reason),
            Phase::Streaming(head) | Phase::Complete(head) => Ok(head.clone()),
            // Nothing was passed on, so another response will do.
            Phase::Broken { .. } => Err(CloseReason::Failed),
        })
    }

    pub(in crate::cache) fn poll_frame(
        &mut self,
        cx: &Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = ready!(self.next(cx));
        match &frame {
            Some(Ok(frame)) => self.read += frame.data_ref().map_or(0, Bytes::len) as u64,
            _ => self.has_ended = true,
        }
        Poll::Ready(frame)
    }

    fn next(&self, cx: &Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.flight.lock();
        let State {
            phase,
            readers,
            frames,
            ..
        } = &mut *state;
        let Some(cursor) = readers.get_mut(&self.id) else {
            return Poll::Ready(Some(Err(SharedBodyError::fell_behind().into())));
        };
        if let Some(frame) = frames.get(cursor.at) {
            if cursor.at == frames.base() {
                self.flight.moved.notify_one();
            }
            cursor.at += 1;
            return Poll::Ready(Some(Ok(frame)));
        }
        match phase {
            Phase::Calling | Phase::Streaming(_) => {
                cursor.wait(cx);
                Poll::Pending
            }
            Phase::Complete(_) | Phase::Closed(_) => Poll::Ready(None),
            Phase::Broken { error, original } => {
                let error = original.take().unwrap_or_else(|| error.clone().into());
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    pub(in crate::cache) fn is_end_stream(&self) -> bool {
        let state = self.flight.lock();
        let is_read = state.readers.get(&self.id).is_some_and(|cursor| {
            matches!(state.phase, Phase::Complete(_)) && cursor.at >= state.frames.end()
        });
        self.has_ended || is_read
    }

    pub(in crate::cache) fn size_hint(&self) -> SizeHint {
        let state = self.flight.lock();
        match &state.phase {
            Phase::Streaming(head) | Phase::Complete(head) => size_hint(head.length, self.read),
            _ => SizeHint::default(),
        }
    }
}

impl fmt::Debug for Reader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("read", &self.read)
            .finish_non_exhaustive()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.flight.leave(self.id);
    }
}
