//! The state that all attempts of a request share: the original body and its record.

use std::{
    pin::Pin,
    sync::{Mutex, MutexGuard},
    task::{Context, Poll, Waker},
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame};

use super::{ReplayError, record::Record};
use crate::error::BoxError;

pub(super) struct SharedRecord<B> {
    state: Mutex<State<B>>,
    /// The exact length, if the original has one.
    pub(super) exact: Option<u64>,
}

pub(super) struct State<B> {
    pub(super) source: BodySource<B>,
    /// `None` after it was given up.
    pub(super) record: Option<Record>,
    /// The number of the attempt that may read. Increases each time that an attempt takes over.
    pub(super) newest: u64,
    /// The number of attempts that were [claimed](crate::TryClone::claim) before they were sent.
    pub(super) claims: u64,
    /// The waker of the attempt that may read, while it waits for the original.
    parked: Option<Waker>,
}

/// The body to record.
pub(super) enum BodySource<B> {
    Open(Pin<Box<B>>),
    Ended,
    Failed,
}

pub(super) type FrameResult = Poll<Option<Result<Frame<Bytes>, BoxError>>>;

// ===== impl SharedRecord =====

impl<B> SharedRecord<B> {
    pub(super) fn lock(&self) -> MutexGuard<'_, State<B>> {
        self.state.lock().unwrap_or_else(|poisoned| {
            // The original panicked within a frame, so the record may be incomplete.
            let mut state = poisoned.into_inner();
            state.source = BodySource::Failed;
            state.record = None;
            state
        })
    }

    /// Lets only the attempt with the returned number read, if there is something to read.
    pub(super) fn claim(&self) -> Option<u64> {
        let mut state = self.lock();
        let record = state.record.as_mut()?;
        record.seal();
        state.newest += 1;
        let newest = state.newest;
        let parked = state.parked.take();
        drop(state);
        // The superseded attempt fails and releases its connection.
        if let Some(parked) = parked {
            parked.wake();
        }
        Some(newest)
    }
}

impl<B: Body> SharedRecord<B> {
    pub(super) fn new(body: B, max_bytes: usize) -> Self {
        let exact = body.size_hint().exact();
        let source = match body.is_end_stream() {
            true => BodySource::Ended,
            false => BodySource::Open(Box::pin(body)),
        };
        Self::of(source, exact, Record::new(max_bytes))
    }
}

impl<B> SharedRecord<B> {
    /// Returns the state of a body that is complete.
    pub(super) fn recorded(bytes: &Bytes) -> Self {
        let mut record = Record::new(bytes.len());
        // The limit is its length.
        let _ = record.push_all(bytes);
        Self::of(BodySource::Ended, Some(bytes.len() as u64), record)
    }

    fn of(source: BodySource<B>, exact: Option<u64>, record: Record) -> Self {
        Self {
            exact,
            state: Mutex::new(State {
                source,
                record: Some(record),
                newest: 0,
                claims: 0,
                parked: None,
            }),
        }
    }
}

// ===== impl State =====

impl<B: Body> State<B>
where
    B::Error: Into<BoxError>,
{
    /// Polls the original, and records the frame.
    pub(super) fn poll_source(&mut self, cx: &mut Context<'_>) -> FrameResult {
        let body = match &mut self.source {
            BodySource::Open(body) => body.as_mut(),
            BodySource::Ended => return Poll::Ready(None),
            BodySource::Failed => return Poll::Ready(Some(Err(ReplayError::NotWhole.into()))),
        };
        let Poll::Ready(frame) = body.poll_frame(cx) else {
            self.parked = Some(cx.waker().clone());
            return Poll::Pending;
        };
        Poll::Ready(match frame {
            Some(Ok(frame)) => {
                let frame = frame.map_data(|mut data| data.copy_to_bytes(data.remaining()));
                self.record(&frame);
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                self.source = BodySource::Failed;
                self.record = None;
                Some(Err(error.into()))
            }
            None => {
                self.source = BodySource::Ended;
                None
            }
        })
    }

    fn record(&mut self, frame: &Frame<Bytes>) {
        let Some(record) = &mut self.record else {
            return;
        };
        let recorded = match (frame.data_ref(), frame.trailers_ref()) {
            (Some(data), _) if self.source.is_ended() => record.push_all(data),
            (Some(data), _) => record.push(data),
            (None, Some(trailers)) => record.push_trailers(trailers),
            (None, None) => Some(()),
        };
        if recorded.is_none() {
            self.record = None;
            crate::macros::event!(
                target: "tower_throttle::replay",
                "request body is too large to be replayed"
            );
        }
    }
}

// ===== impl BodySource =====

impl<B: Body> BodySource<B> {
    pub(super) fn is_ended(&self) -> bool {
        match self {
            Self::Open(body) => body.is_end_stream(),
            Self::Ended => true,
            Self::Failed => false,
        }
    }
}
