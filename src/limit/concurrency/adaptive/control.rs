//! Computes the limit from samples.

use super::{
    gradient::Gradient,
    settings::{Adaptive, Kind},
    window::{Sample, SampleOutcome, SampleWindow, Summary},
};

/// An adaptive limit. The time is an argument; nothing here reads a clock.
#[derive(Debug)]
pub(in crate::limit::concurrency) struct Control {
    limit: f64,
    settings: Adaptive,
    gradient: Gradient,
    window: SampleWindow,
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
            Kind::Aimd { .. } if !answers.is_used => limit,
            Kind::Aimd { threshold } if answers.latency > threshold => {
                limit * self.settings.backoff
            }
            // Large limits grow faster, so that a limit of hundreds does not take hundreds of
            // steps.
            Kind::Aimd { .. } => limit + limit.sqrt().max(1.0),
        }
    }

    /// Returns the latency above which a dropped request counts.
    fn slow(&self) -> f64 {
        match (self.settings.kind, self.gradient.baseline) {
            (Kind::Aimd { threshold }, _) => threshold,
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
