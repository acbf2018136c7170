use std::fmt;

use crate::sync::{AtomicU64, Ordering};

/// What a cache holds, and what it has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Answers that are kept, those among them that are too old and have not been asked for since.
    pub entries: u64,
    /// What they take, in bytes.
    pub bytes: u64,
    /// Requests that were answered with what was kept.
    pub hits: u64,
    /// Requests for which the inner service was asked. Those that [bypass](super::Status::Bypass) the cache don't count.
    pub misses: u64,
    /// Requests that got the answer of another one that was under way.
    pub collapsed: u64,
}

#[derive(Default)]
pub(super) struct Counts {
    pub(super) hits: Count,
    pub(super) misses: Count,
    pub(super) collapsed: Count,
}

#[derive(Default)]
pub(super) struct Count(AtomicU64);

// ===== impl Count =====

impl Count {
    pub(super) fn add(&self) {
        // Nothing else hangs on it.
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}
