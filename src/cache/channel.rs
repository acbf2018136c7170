//! A body under way, which is recorded while it passes, and read by whoever polls.

use std::{
    collections::BTreeMap,
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard},
    task::{Context, Poll, Waker, ready},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, combinators::UnsyncBoxBody};

use super::{
    entry::Entry, error::SharedBodyError, head::Head, landing::Landing, record::Record,
    wakers::Wakers,
};
use crate::BoxError;

type Source = UnsyncBoxBody<Bytes, BoxError>;
pub(super) type Polled = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

/// What a body that is shared, and boxed, must be.
pub(super) trait Shareable: Body<Error: Into<BoxError>> + Send + 'static {}

impl<B: Body<Error: Into<BoxError>> + Send + 'static> Shareable for B {}

pub(super) struct Channel {
    pub(super) head: Arc<Head>,
    /// The length, where the original told it.
    pub(super) exact: Option<u64>,
    pub(super) wakers: Arc<Wakers>,
    /// Of the wakers, for the original.
    waker: Waker,
    landing: Landing,
    state: Mutex<State>,
}

struct State {
    source: Progress,
    record: Record,
    /// How far each of those who read has come.
    readers: BTreeMap<u64, usize>,
}

/// How far the original has come.
enum Progress {
    Open(Source),
    Ended,
    /// With what those are told who did not meet the error.
    Failed(SharedBodyError),
}

// ===== impl Channel =====

impl Channel {
    /// Lets those with the given numbers read `body` from its beginning.
    pub(super) fn open<B: Shareable>(
        head: Arc<Head>,
        body: B,
        max: usize,
        landing: Landing,
        readers: impl IntoIterator<Item = u64>,
    ) -> Arc<Self> {
        let exact = body.size_hint().exact();
        let has_ended = body.is_end_stream();
        let body = body
            .map_frame(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())))
            .map_err(Into::into);
        let wakers = Arc::new(Wakers::new());
        let channel = Self {
            head,
            exact,
            waker: wakers.clone().into(),
            wakers,
            landing,
            state: Mutex::new(State {
                source: Progress::Open(UnsyncBoxBody::new(body)),
                record: Record::new(max),
                readers: readers.into_iter().map(|id| (id, 0)).collect(),
            }),
        };
        if has_ended {
            let dead = channel.end(&mut channel.lock());
            drop(dead);
        }
        Arc::new(channel)
    }

    /// The next frame for the reader `id`, who has read `at` of them.
    pub(super) fn poll_frame(&self, id: u64, at: usize, cx: &mut Context<'_>) -> Polled {
        // Of any type: dropped when the lock is free again.
        let mut dead = None;
        let mut state = self.lock();
        loop {
            if let Some(read) = state.read(id, at) {
                return Poll::Ready(read);
            }
            if let Err(error) = ready!(self.drive(&mut state, id, cx, &mut dead)) {
                return Poll::Ready(Some(Err(error)));
            }
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
                state.record.push(frame);
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
        let entry = state
            .record
            .is_whole()
            .then(|| Entry::new(self.head.clone(), state.record.body()));
        match entry.flatten() {
            Some(entry) => self.landing.keep(entry),
            None => self.landing.abandon(),
        }
        mem::replace(&mut state.source, Progress::Ended)
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

// ===== impl State =====

impl State {
    /// What there is for a reader without polling the original.
    fn read(&mut self, id: u64, at: usize) -> Option<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(place) = self.readers.get_mut(&id) else {
            return Some(Some(Err(SharedBodyError::fell_behind().into())));
        };
        if let Some(frame) = self.record.get(at) {
            *place = at + 1;
            return Some(Some(Ok(frame)));
        }
        match &self.source {
            Progress::Open(_) => None,
            Progress::Ended => Some(None),
            Progress::Failed(error) => Some(Some(Err(error.clone().into()))),
        }
    }

    fn fail(&mut self, error: SharedBodyError) -> Progress {
        mem::replace(&mut self.source, Progress::Failed(error))
    }
}
