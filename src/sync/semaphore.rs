//! A model of tokio's semaphore for loom. It never waits.

use loom::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug)]
pub(crate) struct Semaphore(AtomicUsize);

/// A permit that returns to the semaphore unless it is forgotten.
pub(crate) struct AcquiredPermit;

// ===== impl Semaphore =====

impl Semaphore {
    pub(crate) const MAX_PERMITS: usize = tokio::sync::Semaphore::MAX_PERMITS;

    pub(crate) fn new(permits: usize) -> Self {
        Self(AtomicUsize::new(permits))
    }

    pub(crate) fn available_permits(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn add_permits(&self, permits: usize) {
        self.0.fetch_add(permits, Ordering::AcqRel);
    }

    pub(crate) fn forget_permits(&self, permits: usize) -> usize {
        let forget = |free: usize| Some(free.saturating_sub(permits));
        self.0
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, forget)
            .map_or(0, |free| free.min(permits))
    }

    pub(crate) fn try_acquire(&self) -> Result<AcquiredPermit, ()> {
        (self.forget_permits(1) == 1)
            .then_some(AcquiredPermit)
            .ok_or(())
    }

    pub(crate) async fn acquire(&self) -> Result<AcquiredPermit, ()> {
        self.try_acquire()
    }
}

// ===== impl AcquiredPermit =====

impl AcquiredPermit {
    pub(crate) fn forget(self) {}
}
