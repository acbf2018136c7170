//! The controller with its clock and its lock.

use std::sync::Mutex;

use super::{
    control::Control,
    settings::{Adaptive, Latency},
};
use crate::{
    limit::clock::Clock,
    sync::{AtomicUsize, Ordering, unpoisoned},
};

/// Collects the samples of all threads.
#[derive(Debug)]
pub(in crate::limit::concurrency) struct Sampler {
    control: Mutex<Control>,
    clock: Clock,
    pub(in crate::limit::concurrency) latency: Latency,
}

// ===== impl Sampler =====

impl Sampler {
    pub(in crate::limit::concurrency) fn new(settings: &Adaptive) -> Self {
        let clock = Clock::tokio();
        Self {
            control: Mutex::new(Control::new(settings, clock.now())),
            clock,
            latency: settings.latency,
        }
    }

    pub(in crate::limit::concurrency) fn now(&self) -> u64 {
        self.clock.now()
    }

    /// Changes the state of the controller, and writes its limit. Returns whether that has changed.
    pub(in crate::limit::concurrency) fn update(
        &self,
        limit: &AtomicUsize,
        change: impl FnOnce(&mut Control, u64),
    ) -> bool {
        let mut control = unpoisoned(self.control.lock());
        // The clock is read under the lock, so that samples come in the order of their times.
        change(&mut control, self.now());
        let new = control.limit();
        // Relaxed: a lone number. It is written under the lock, so the last value stays.
        let has_moved = limit.swap(new, Ordering::Relaxed) != new;
        drop(control);
        #[cfg(feature = "tracing")]
        if has_moved {
            tracing::trace!(
                target: "tower_throttle::concurrency",
                limit = new,
                "a limit has moved"
            );
        }
        has_moved
    }
}
