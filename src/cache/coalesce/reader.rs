use std::{
    sync::Arc,
    task::{Context, Poll, ready},
};

use super::flight::{CloseReason, Cursor, Phase, SingleFlight};
use crate::{
    cache::{
        body::BoxedBody,
        error::{Kind, SharedBodyError},
        head::CachedHead,
        policy::Lookup,
    },
    http::guarded_body::FramePoll,
};

/// A request that reads the response of a flight. Dropping it leaves the flight.
pub(in crate::cache) struct Reader {
    pub(super) flight: Arc<SingleFlight>,
    id: u64,
    has_ended: bool,
}

// ===== impl Reader =====

impl Reader {
    /// Returns `None` if the response is not shared any more, or its head does not suit the
    /// request.
    pub(in crate::cache) fn follow(flight: &Arc<SingleFlight>, lookup: &Lookup) -> Option<Self> {
        let mut state = flight.lock();
        let is_open = match &state.phase {
            Phase::Calling => true,
            Phase::Streaming(head) | Phase::Complete(head) => {
                state.frames.is_whole && lookup.accepts(head)
            }
            Phase::Closed(_) | Phase::Broken(..) => false,
        };
        is_open.then(|| {
            state.readers.insert(lookup.id, Cursor::default());
            Self::new(flight.clone(), lookup.id)
        })
    }

    pub(super) const fn new(flight: Arc<SingleFlight>, id: u64) -> Self {
        Self {
            flight,
            id,
            has_ended: false,
        }
    }

    pub(super) fn poll_head(&self, cx: &Context<'_>) -> Poll<Result<Arc<CachedHead>, CloseReason>> {
        let mut state = self.flight.lock();
        let state = &mut *state;
        let Some(cursor) = state.readers.get_mut(&self.id) else {
            return Poll::Ready(Err(CloseReason::Failed));
        };
        Poll::Ready(match &state.phase {
            Phase::Calling => {
                cursor.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            Phase::Closed(reason) => Err(*reason),
            Phase::Streaming(head) | Phase::Complete(head) => Ok(head.clone()),
            // Nothing was passed on, so another response will do.
            Phase::Broken(..) => Err(CloseReason::Failed),
        })
    }

    pub(in crate::cache) fn poll_frame(&mut self, cx: &Context<'_>) -> FramePoll<BoxedBody> {
        if self.has_ended {
            return Poll::Ready(None);
        }
        let frame = ready!(self.next(cx));
        self.has_ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn next(&self, cx: &Context<'_>) -> FramePoll<BoxedBody> {
        let mut state = self.flight.lock();
        let state = &mut *state;
        let Some(cursor) = state.readers.get_mut(&self.id) else {
            return Poll::Ready(Some(Err(SharedBodyError(Kind::FellBehind).into())));
        };
        if let Some(frame) = state.frames.get(cursor.at) {
            if cursor.at == state.frames.base {
                self.flight.moved.notify_one();
            }
            cursor.at += 1;
            return Poll::Ready(Some(Ok(frame)));
        }
        match &mut state.phase {
            Phase::Calling | Phase::Streaming(_) => {
                cursor.waker = Some(cx.waker().clone());
                Poll::Pending
            }
            Phase::Complete(_) | Phase::Closed(_) => Poll::Ready(None),
            Phase::Broken(error, original) => {
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
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.flight.leave(self.id);
    }
}
