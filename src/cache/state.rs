//! How far a body has come, and each of those who read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use bytes::Bytes;
use http_body::Frame;

use super::{error::SharedBodyError, original::Original, record::Record};
use crate::BoxError;

pub(super) struct State {
    pub(super) source: Progress,
    pub(super) record: Record,
    /// How far each of those who read has come.
    pub(super) readers: BTreeMap<u64, usize>,
    /// Somebody ahead waits for those behind.
    pub(super) is_blocking: bool,
}

/// How far the original has come.
pub(super) enum Progress {
    Open(Original),
    Ended,
    /// With what those are told who did not meet the error.
    Failed(SharedBodyError),
}

// ===== impl State =====

impl State {
    pub(super) fn new(original: Original, max: usize, readers: BTreeSet<u64>) -> Self {
        Self {
            source: Progress::Open(original),
            record: Record::new(max),
            readers: readers.into_iter().map(|id| (id, 0)).collect(),
            is_blocking: false,
        }
    }

    /// What there is for a reader without polling the original.
    pub(super) fn read(
        &mut self,
        id: u64,
        at: usize,
    ) -> Option<Option<Result<Frame<Bytes>, BoxError>>> {
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

    /// Forgets what everybody has read, where not all is kept anyway.
    pub(super) fn has_room(&mut self) -> bool {
        if self.record.is_whole() {
            return true;
        }
        let slowest = self.readers.values().copied().min();
        self.record
            .forget_before(slowest.unwrap_or_else(|| self.record.end()));
        !self.record.is_full()
    }

    pub(super) fn fail(&mut self, error: SharedBodyError) -> Progress {
        mem::replace(&mut self.source, Progress::Failed(error))
    }
}
