//! A body under way, which is recorded while it passes, and read by whoever polls.

use std::{
    collections::BTreeSet,
    fmt, mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::{
    entry::Entry,
    error::SharedBodyError,
    head::Head,
    landing::Landing,
    original::Original,
    patience::Patience,
    state::{Progress, State},
    wakers::Wakers,
};
use crate::BoxError;

pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

pub(super) struct Channel {
    pub(super) head: Arc<Head>,
    /// The length, where the original told it.
    pub(super) exact: Option<u64>,
    wakers: Arc<Wakers>,
    /// Of the wakers, for the original.
    waker: Waker,
    landing: Landing,
    state: Mutex<State>,
}

// ===== impl Channel =====

impl Channel {
    /// Lets those with the given numbers read a body from its beginning.
    pub(super) fn open(
        head: Arc<Head>,
        original: Original,
        max: usize,
        landing: Landing,
        readers: BTreeSet<u64>,
    ) -> Arc<Self> {
        let wakers = Arc::new(Wakers::new());
        let has_ended = original.is_end_stream();
        let channel = Self {
            head,
            exact: original.size_hint().exact(),
            waker: wakers.clone().into(),
            wakers,
            landing,
            state: Mutex::new(State::new(original, max, readers)),
        };
        if has_ended {
            let dead = channel.end(&mut channel.lock());
            drop(dead);
        }
        Arc::new(channel)
    }

    /// The next frame for the reader `id`, who has read `at` of them.
    pub(super) fn poll_frame(
        &self,
        id: u64,
        at: usize,
        patience: &mut Patience,
        cx: &mut Context<'_>,
    ) -> Polled {
        // Of any type: dropped when the lock is free again.
        let mut dead = None;
        let mut state = self.lock();
        loop {
            if let Some(read) = state.read(id, at) {
                self.wake_blocked(&mut state);
                return Poll::Ready(read);
            }
            ready!(self.room(&mut state, id, patience, cx));
            if let Err(error) = ready!(self.drive(&mut state, id, cx, &mut dead)) {
                return Poll::Ready(Some(Err(error)));
            }
        }
    }

    /// Ready where the record takes one more frame. Where it is full, those ahead wait for those behind, for a while.
    fn room(
        &self,
        state: &mut State,
        id: u64,
        patience: &mut Patience,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while !state.has_room() {
            let base = state.record.base();
            if patience.poll(base, cx).is_pending() {
                state.is_blocking = true;
                self.wakers.wait(id, cx);
                return Poll::Pending;
            }
            #[cfg(feature = "tracing")]
            tracing::debug!("passing over who reads too slowly");
            state.readers.retain(|_, at| *at > base);
            self.wakers.wake_all();
        }
        patience.reset();
        Poll::Ready(())
    }

    /// Lets those ahead look again whether there is room.
    fn wake_blocked(&self, state: &mut State) {
        if mem::take(&mut state.is_blocking) {
            self.wakers.wake_all();
        }
    }

    /// Polls the original, if it is to be polled.
    fn drive(
        &self,
        state: &mut State,
        id: u64,
        cx: &mut Context<'_>,
        dead: &mut Option<Progress>,
    ) -> Poll<Result<(), BoxError>> {
        let Progress::Open(source) = &mut state.source else {
            return Poll::Ready(Ok(()));
        };
        ready!(self.wakers.poll_turn(id, cx));
        match Pin::new(&mut *source).poll_frame(&mut Context::from_waker(&self.waker)) {
            Poll::Pending => {
                self.wakers.wait_turn(id, cx);
                return Poll::Pending;
            }
            Poll::Ready(Some(Ok(frame))) => {
                self.wakers.again();
                let has_ended = source.is_end_stream();
                let was_whole = state.record.is_whole();
                state.record.push(frame);
                if was_whole && !state.record.is_whole() {
                    self.landing.abandon();
                }
                // Readers that trust `is_end_stream` never poll again after the last frame.
                if has_ended {
                    *dead = Some(self.end(state));
                }
            }
            Poll::Ready(Some(Err(error))) => {
                let alone = state.readers.len() < 2;
                let (error, for_others) = SharedBodyError::share(error, alone);
                *dead = Some(state.fail(for_others));
                self.landing.abandon();
                return Poll::Ready(Err(error));
            }
            Poll::Ready(None) => *dead = Some(self.end(state)),
        }
        Poll::Ready(Ok(()))
    }

    /// The original has come to its end.
    fn end(&self, state: &mut State) -> Progress {
        let entry = state.record.is_whole().then(|| {
            let body = state.record.body();
            let is_as_long = self.exact.is_none_or(|exact| exact == body.data_from(0));
            Entry::new(self.head.clone(), body).filter(|_| is_as_long)
        });
        match entry.flatten() {
            Some(entry) => self.landing.keep(entry),
            None => self.landing.abandon(),
        }
        mem::replace(&mut state.source, Progress::Ended)
    }

    /// Lets one more read, unless some of the record is gone.
    pub(super) fn join(&self, id: u64) -> bool {
        let mut state = self.lock();
        let is_open = state.record.is_whole() && !matches!(state.source, Progress::Failed(_));
        if is_open {
            state.readers.insert(id, 0);
        }
        is_open
    }

    /// Whether a reader who has read nothing yet can read on.
    pub(super) fn is_open_to(&self, id: u64) -> bool {
        let state = self.lock();
        state.readers.contains_key(&id) && !matches!(state.source, Progress::Failed(_))
    }

    /// Whether the reader has nothing more to come.
    pub(super) fn has_ended(&self, id: u64, at: usize) -> bool {
        let state = self.lock();
        let is_read = state.readers.contains_key(&id) && state.record.end() <= at;
        is_read && matches!(state.source, Progress::Ended)
    }

    /// How many bytes the reader has yet to read of those that have come, and whether these are all.
    pub(super) fn left(&self, at: usize) -> (u64, bool) {
        let state = self.lock();
        let is_all = matches!(state.source, Progress::Ended) && !state.record.has_trailers();
        (state.record.data_from(at), is_all)
    }

    /// With the last one who reads the original goes.
    pub(super) fn leave(&self, id: u64) {
        self.wakers.leave(id);
        let mut dead = None;
        let mut state = self.lock();
        state.readers.remove(&id);
        self.wake_blocked(&mut state);
        if state.readers.is_empty() && matches!(state.source, Progress::Open(_)) {
            dead = Some(state.fail(SharedBodyError::dropped()));
            self.landing.abandon();
        }
        drop(state);
        drop(dead);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // The original panicked in the middle of a frame.
            let mut state = poisoned.into_inner();
            if let Progress::Open(_) = state.source {
                drop(state.fail(SharedBodyError::dropped()));
                self.landing.abandon();
            }
            state
        })
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}
