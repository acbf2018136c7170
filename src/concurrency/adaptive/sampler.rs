//! The loop with its clock and its lock.

use std::sync::{
    Mutex, MutexGuard, PoisonError,
    atomic::{AtomicU64, AtomicUsize, Ordering},
};

use super::{
    control::Control,
    settings::{Adaptive, Latency},
    window::{Outcome, Sample},
};
use crate::Clock;

/// Takes in samples from everywhere, and tells the limit.
#[derive(Debug)]
pub(in crate::concurrency) struct Sampler {
    control: Mutex<Control>,
    clock: Clock,
    latency: Latency,
    /// The limit of `control`, to be read without its lock.
    limit: AtomicUsize,
    /// How long slots were held, in nanoseconds and all together, and how many of them.
    held: AtomicU64,
    ended: AtomicU64,
}

// ===== impl Sampler =====

impl Sampler {
    pub(in crate::concurrency) fn new(settings: &Adaptive) -> Self {
        let clock = Clock::tokio();
        let control = Control::new(settings, clock.now());
        Self {
            limit: AtomicUsize::new(control.limit()),
            control: Mutex::new(control),
            clock,
            latency: settings.latency,
            held: AtomicU64::new(0),
            ended: AtomicU64::new(0),
        }
    }

    pub(in crate::concurrency) fn now(&self) -> u64 {
        self.clock.now()
    }

    pub(in crate::concurrency) fn latency(&self) -> Latency {
        self.latency
    }

    // Relaxed throughout: each is a lone number. Whoever applies the limit reads it under the lock of who applies it, and the
    // last one reads the last.

    pub(in crate::concurrency) fn limit(&self) -> usize {
        self.limit.load(Ordering::Relaxed)
    }

    /// Takes a sample in, and says whether the limit is another one now.
    pub(in crate::concurrency) fn sample(
        &self,
        started: u64,
        idle: u64,
        in_flight: usize,
        outcome: Outcome,
    ) -> bool {
        let mut control = self.control();
        // Read under the lock, so that samples come in the order of their times.
        let sample = Sample {
            started,
            idle,
            now: self.now(),
            in_flight,
            outcome,
        };
        control.sample(&sample, || {
            let ended = self.ended.swap(0, Ordering::Relaxed);
            (self.held.swap(0, Ordering::Relaxed), ended)
        });
        self.publish(&control)
    }

    /// A slot that was taken at `started` is free again.
    pub(in crate::concurrency) fn release(&self, started: u64) {
        let held = self.now().saturating_sub(started);
        self.held.fetch_add(held, Ordering::Relaxed);
        self.ended.fetch_add(1, Ordering::Relaxed);
    }

    /// Moves the limit by hand.
    pub(in crate::concurrency) fn force(&self, limit: usize) {
        let mut control = self.control();
        control.force(limit, self.now());
        self.publish(&control);
    }

    fn publish(&self, control: &Control) -> bool {
        let limit = control.limit();
        self.limit.swap(limit, Ordering::Relaxed) != limit
    }

    fn control(&self) -> MutexGuard<'_, Control> {
        self.control.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
