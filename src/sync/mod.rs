//! Atomics and locks, which loom replaces in its tests.

use std::sync::{LockResult, PoisonError};

#[cfg(not(throttle_loom))]
pub(crate) use std::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering, fence},
};

#[cfg(throttle_loom)]
pub(crate) use loom::sync::{
    Mutex, MutexGuard,
    atomic::{AtomicU64, AtomicUsize, Ordering, fence},
};

/// Returns the guard of a lock even if a thread has panicked while it had the lock.
pub(crate) fn unpoisoned<G>(result: LockResult<G>) -> G {
    result.unwrap_or_else(PoisonError::into_inner)
}

/// Runs a model with up to three preemptions of each thread.
#[cfg(all(test, throttle_loom))]
pub(crate) fn model(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(model);
}
