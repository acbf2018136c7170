use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::Waker,
};

use tokio::{sync::Notify, task::AbortHandle};

use super::pulse::Pulse;
use crate::{
    cache::{
        error::{Kind, SharedBodyError},
        frames::Frames,
        head::CachedHead,
    },
    error::BoxError,
};

/// A call to the inner service, and the requests that share its response.
pub(in crate::cache) struct SingleFlight {
    state: Mutex<State>,
    pub(super) pulse: Arc<Pulse>,
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
    /// The leading request was dropped, or panicked. The newest follower goes first, since it is
    /// likely to wait for the longest.
    Gone,
    /// An error, or a status that is not cached, or the leading request was not polled.
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

// ===== impl SingleFlight =====

impl SingleFlight {
    pub(in crate::cache) fn new(max_entry: usize) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                phase: Phase::Calling,
                frames: Frames::new(max_entry),
                readers: BTreeMap::new(),
                task: None,
            }),
            pulse: Pulse::new(),
            moved: Notify::new(),
        })
    }

    /// Returns `false` if the response can't be shared any more, or if `accepts` rejects its head.
    pub(super) fn follow(&self, id: u64, accepts: impl FnOnce(&CachedHead) -> bool) -> bool {
        let mut state = self.lock();
        let is_open = match &state.phase {
            Phase::Calling => true,
            Phase::Streaming(head) | Phase::Complete(head) => {
                state.frames.is_whole && accepts(head)
            }
            Phase::Closed(_) | Phase::Broken(..) => false,
        };
        if is_open {
            state.readers.insert(id, Cursor::default());
        }
        is_open
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

    /// Wakes the followers with a reason, if they still wait for the head.
    pub(in crate::cache) fn close(&self, reason: CloseReason) {
        self.update(|state| {
            if let Phase::Calling | Phase::Closed(CloseReason::Gone) = state.phase {
                state.phase = Phase::Closed(reason);
            }
        });
    }

    /// Returns whether followers wait for a newer one to go first.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.lock().phase, Phase::Closed(CloseReason::Gone))
    }

    /// Marks the end of the response.
    pub(super) fn end(&self) {
        self.update(|state| match state.phase {
            Phase::Calling => state.phase = Phase::Closed(CloseReason::Gone),
            Phase::Streaming(_) => {
                state.phase = Phase::Broken(SharedBodyError(Kind::Dropped), None);
            }
            Phase::Closed(_) | Phase::Complete(_) | Phase::Broken(..) => {}
        });
    }

    /// The task that reads the body ends with the last reader.
    pub(super) fn leave(&self, id: u64) {
        let mut state = self.lock();
        state.readers.remove(&id);
        let is_last = state.readers.is_empty() && matches!(state.phase, Phase::Streaming(_));
        if is_last {
            state.phase = Phase::Closed(CloseReason::Gone);
        }
        let task = state.task.take_if(|_| is_last);
        let next = match state.phase {
            Phase::Closed(CloseReason::Gone) => state.readers.last_entry(),
            _ => None,
        };
        let next = next.and_then(|mut newest| newest.get_mut().waker.take());
        drop(state);
        if let Some(task) = task {
            task.abort();
        }
        if let Some(next) = next {
            next.wake();
        }
        self.moved.notify_one();
    }

    /// Changes the state and wakes all readers.
    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let changed = change(&mut state);
        let readers = state.readers.values_mut();
        let wakers: Vec<_> = readers.filter_map(|cursor| cursor.waker.take()).collect();
        drop(state);
        for waker in wakers {
            waker.wake();
        }
        changed
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// ===== impl State =====

impl State {
    /// Returns whether no follower is newer.
    pub(super) fn is_newest(&self, id: u64) -> bool {
        self.readers.range(id + 1..).next().is_none()
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
            #[cfg(feature = "tracing")]
            tracing::debug!("removing readers that are too slow");
            self.readers.retain(|_, cursor| cursor.at > base);
        }
    }
}
