//! Computes the limit from samples.

use std::sync::Mutex;

use super::{
    gradient::Gradient,
    settings::{Adaptive, Kind, Latency},
    window::{Sample, SampleOutcome, SampleWindow, Summary},
};
use crate::{
    limit::clock::Clock,
    sync::{AtomicUsize, Ordering, unpoisoned},
};

/// An adaptive limit. The time is an argument; nothing here reads a clock.
#[derive(Debug)]
pub(in crate::limit::concurrency) struct Control {
    limit: f64,
    settings: Adaptive,
    gradient: Gradient,
    window: SampleWindow,
}

/// The controller with its clock and its lock, which collects the samples of all threads.
#[derive(Debug)]
pub(in crate::limit::concurrency) struct Sampler {
    control: Mutex<Control>,
    clock: Clock,
    pub(in crate::limit::concurrency) latency: Latency,
}

// ===== impl Control =====

impl Control {
    pub(super) fn new(settings: &Adaptive, now: u64) -> Self {
        Self {
            limit: settings.first_limit() as f64,
            settings: *settings,
            gradient: Gradient::new(settings.tolerance),
            window: SampleWindow::open(now),
        }
    }

    /// Returns the limit as an integer.
    pub(super) fn limit(&self) -> usize {
        // Saturates.
        self.limit as usize
    }

    /// Sets the limit, from which it continues.
    pub(in crate::limit::concurrency) fn force(&mut self, limit: usize, now: u64) {
        self.gradient.descent = None;
        self.move_to(limit as f64, now);
    }

    pub(in crate::limit::concurrency) fn sample(&mut self, sample: &Sample) {
        // An early drop is ignored.
        if sample.outcome == SampleOutcome::Dropped && sample.latency() <= self.slow() {
            return;
        }
        self.window.add(sample);
        if let Some(summary) = self.window.close(sample.now, self.limit()) {
            let limit = self.step(summary);
            self.move_to(limit, sample.now);
        }
    }

    fn step(&mut self, summary: Summary) -> f64 {
        let limit = self.limit;
        let Summary::Answered(answers) = summary else {
            self.gradient.descent = None;
            return limit * self.settings.backoff;
        };
        match self.settings.kind {
            Kind::Gradient => {
                let is_least = limit < self.settings.min as f64 + 1.0;
                self.gradient.step(limit, is_least, answers)
            }
            Kind::Aimd(_) if !answers.is_used => limit,
            Kind::Aimd(threshold) if answers.latency > threshold => limit * self.settings.backoff,
            // Large limits grow faster, so that a limit of hundreds does not take hundreds of
            // steps.
            Kind::Aimd(_) => limit + limit.sqrt().max(1.0),
        }
    }

    /// Returns the latency above which a dropped request counts.
    fn slow(&self) -> f64 {
        match (self.settings.kind, self.gradient.baseline) {
            (Kind::Aimd(threshold), _) => threshold,
            (Kind::Gradient, Some(baseline)) => 2.0 * baseline,
            (Kind::Gradient, None) => f64::INFINITY,
        }
    }

    fn move_to(&mut self, limit: f64, now: u64) {
        let Adaptive { min, max, .. } = self.settings;
        self.limit = limit.max(min as f64).min(max as f64);
        self.window = SampleWindow::open(now);
    }
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
