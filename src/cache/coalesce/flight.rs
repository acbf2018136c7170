use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Wake, Waker, ready},
    time::Duration,
};

use tokio::{sync::Notify, task::AbortHandle, time::Instant};

use crate::{
    cache::{
        body::BoxedBody,
        error::{Kind, SharedBodyError},
        frames::Frames,
        head::CachedHead,
        policy::Lookup,
    },
    error::BoxError,
    http::guarded_body::FramePoll,
    sync::unpoisoned,
};

/// A call to the inner service, and the requests that share its response.
pub(in crate::cache) struct SingleFlight {
    state: Mutex<State>,
    /// A reader has made room, or has left.
    pub(super) moved: Notify,
}

pub(super) struct State {
    pub(super) phase: Phase,
    pub(super) frames: Frames,
    /// By the number of the request: the newest is the last.
    pub(super) readers: BTreeMap<u64, Cursor>,
    /// Reads the body.
    pub(super) task: Option<AbortHandle>,
    /// The task of the leading request.
    pub(super) leader: Waker,
    /// The time since which the leading request is woken and not polled.
    pub(super) woken: Option<Instant>,
}

pub(super) enum Phase {
    /// The inner service has not responded.
    Calling,
    /// The response is not shared, or there is none.
    Closed(CloseReason),
    Streaming(Arc<CachedHead>),
    Complete(Arc<CachedHead>),
    /// A request that is alone gets the error itself.
    Broken(SharedBodyError, Option<BoxError>),
}

#[derive(Clone, Copy)]
pub(in crate::cache) enum CloseReason {
    /// The leading request was dropped or not polled, panicked, or got an error or a status that is
    /// not cached. The newest follower is woken first, since it is likely to wait for the longest.
    Failed,
    /// The response must not be shared, and other responses neither.
    Private,
}

/// The position of a reader.
#[derive(Default)]
pub(super) struct Cursor {
    pub(super) at: usize,
    pub(super) waker: Option<Waker>,
}

/// A request that reads the response of a flight. Dropping it leaves the flight.
pub(in crate::cache) struct Reader {
    pub(super) flight: Arc<SingleFlight>,
    id: u64,
    has_ended: bool,
}

// ===== impl SingleFlight =====

impl SingleFlight {
    pub(in crate::cache) fn new(max_entry: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                phase: Phase::Calling,
                frames: Frames::new(max_entry),
                readers: BTreeMap::new(),
                task: None,
                leader: Waker::noop().clone(),
                woken: Some(Instant::now()),
            }),
            moved: Notify::new(),
        })
    }

    /// Lets the followers read, and the leading request, which has the number `id`. Returns `false`
    /// if the followers did not wait for it.
    pub(super) fn open(&self, id: u64, head: &Arc<CachedHead>) -> bool {
        self.update(|state| {
            let is_open = matches!(state.phase, Phase::Calling);
            if is_open {
                state.phase = Phase::Streaming(head.clone());
                state.readers.insert(id, Cursor::default());
            }
            is_open
        })
    }

    /// Polls the leading request.
    pub(in crate::cache) fn poll<T>(
        self: &Arc<Self>,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> T,
    ) -> T {
        let mut state = self.lock();
        state.leader.clone_from(cx.waker());
        state.woken = None;
        drop(state);
        poll(&mut Context::from_waker(&self.clone().into()))
    }

    /// Returns whether the leading request was woken so long ago and not polled since.
    pub(super) fn is_overdue(&self, limit: Duration) -> bool {
        let woken = self.lock().woken;
        woken.is_some_and(|woken| woken.elapsed() >= limit)
    }

    /// Wakes the followers with a reason, if they still wait for the head.
    pub(super) fn close(&self, reason: CloseReason) {
        self.update(|state| {
            if let Phase::Calling = state.phase {
                state.phase = Phase::Closed(reason);
            }
        });
    }

    /// Marks the end of the response.
    pub(super) fn end(&self) {
        self.update(|state| match state.phase {
            Phase::Calling => state.phase = Phase::Closed(CloseReason::Failed),
            Phase::Streaming(_) => {
                state.phase = Phase::Broken(SharedBodyError(Kind::Dropped), None);
            }
            Phase::Closed(_) | Phase::Complete(_) | Phase::Broken(..) => {}
        });
    }

    /// The task that reads the body ends with the last reader.
    fn leave(&self, id: u64) {
        let mut state = self.lock();
        state.readers.remove(&id);
        let is_last = state.readers.is_empty() && matches!(state.phase, Phase::Streaming(_));
        if is_last {
            state.phase = Phase::Closed(CloseReason::Failed);
        }
        let task = state.task.take_if(|_| is_last);
        let next = match state.phase {
            Phase::Closed(CloseReason::Failed) => state.wakers(),
            _ => Vec::new(),
        };
        drop(state);
        if let Some(task) = task {
            task.abort();
        }
        next.into_iter().for_each(Waker::wake);
        self.moved.notify_one();
    }

    /// Changes the state and wakes the readers.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        let wakers = state.wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        changed
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        unpoisoned(self.state.lock())
    }
}

/// Wakes the leading request.
impl Wake for SingleFlight {
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        state.woken.get_or_insert_with(Instant::now);
        let leader = state.leader.clone();
        drop(state);
        leader.wake();
    }
}

// ===== impl State =====

impl State {
    /// Takes the wakers of the readers: after a failure only the newest one. When that reader
    /// leaves, the next one is woken.
    fn wakers(&mut self) -> Vec<Waker> {
        let most = match self.phase {
            Phase::Closed(CloseReason::Failed) => 1,
            _ => usize::MAX,
        };
        let newest_first = self.readers.values_mut().rev();
        let wakers = newest_first.filter_map(|cursor| cursor.waker.take());
        wakers.take(most).collect()
    }

    /// Drops the frames that all readers have read, unless all frames are kept. Returns whether
    /// there is room for one more.
    pub(super) fn make_room(&mut self) -> bool {
        if !self.frames.is_whole {
            let slowest = self.readers.values().map(|cursor| cursor.at).min();
            self.frames.forget_before(slowest.unwrap_or(usize::MAX));
        }
        !self.frames.is_full()
    }

    /// Removes the readers that others wait for.
    pub(super) fn remove_slowest(&mut self) {
        let (base, end) = (self.frames.base, self.frames.end());
        if self.readers.values().any(|cursor| cursor.at == end) {
            crate::macros::event!(
                target: "tower_throttle::cache",
                "removing readers that are too slow"
            );
            self.readers.retain(|_, cursor| cursor.at > base);
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_poll_is_due_once_the_task_is_woken() {
        const LIMIT: Duration = Duration::from_secs(1);
        let flight = SingleFlight::new(0);
        let poll = || flight.poll(&Context::from_waker(Waker::noop()), |_| ());
        assert!(!flight.is_overdue(LIMIT));
        tokio::time::advance(LIMIT).await;
        assert!(flight.is_overdue(LIMIT));
        poll();
        tokio::time::advance(LIMIT * 10).await;
        assert!(!flight.is_overdue(LIMIT));
        let waker = Waker::from(flight.clone());
        waker.wake_by_ref();
        tokio::time::advance(LIMIT / 2).await;
        waker.wake();
        assert!(!flight.is_overdue(LIMIT));
        tokio::time::advance(LIMIT / 2).await;
        assert!(flight.is_overdue(LIMIT));
        poll();
        assert!(!flight.is_overdue(LIMIT));
    }
}
