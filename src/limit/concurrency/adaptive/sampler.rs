//! The controller with its clock and its lock.

use std::sync::{
    Mutex,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    control::Control,
    settings::{Adaptive, Latency},
    window::{Sample, SampleOutcome},
};
use crate::{limit::clock::Clock, sync::unpoisoned};

/// Collects the samples of all threads, and holds the limit.
#[derive(Debug)]
pub(in crate::limit::concurrency) struct Sampler {
    control: Mutex<Control>,
    clock: Clock,
    pub(in crate::limit::concurrency) latency: Latency,
    /// The limit of `control`, readable without the lock.
    limit: AtomicUsize,
}

// ===== impl Sampler =====

impl Sampler {
    pub(in crate::limit::concurrency) fn new(settings: &Adaptive) -> Self {
        let clock = Clock::tokio();
        let control = Control::new(settings, clock.now());
        Self {
            limit: AtomicUsize::new(control.limit()),
            control: Mutex::new(control),
            clock,
            latency: settings.latency,
        }
    }

    pub(in crate::limit::concurrency) fn now(&self) -> u64 {
        self.clock.now()
    }

    // Relaxed throughout: the numbers are independent. The limit is read under the lock under which
    // it is applied, so the last thread applies the last value.

    pub(in crate::limit::concurrency) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Adds a sample. Returns whether the limit has changed.
    pub(in crate::limit::concurrency) fn sample(
        &self,
        started: u64,
        idle: u64,
        in_flight: usize,
        outcome: SampleOutcome,
    ) -> bool {
        self.update(|control, now| {
            control.sample(&Sample {
                started,
                idle,
                now,
                in_flight,
                outcome,
            });
        })
    }

    /// Sets the limit. Returns whether it has changed.
    pub(in crate::limit::concurrency) fn force(&self, limit: usize) -> bool {
        self.update(|control, now| control.force(limit, now))
    }

    fn update(&self, change: impl FnOnce(&mut Control, u64)) -> bool {
        let mut control = unpoisoned(self.control.lock());
        // The clock is read under the lock, so that samples come in the order of their times.
        change(&mut control, self.now());
        let limit = control.limit();
        self.limit.swap(limit, Ordering::Relaxed) != limit
    }
}
