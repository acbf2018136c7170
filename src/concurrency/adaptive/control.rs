//! The loop from samples to the limit.

use super::{
    aimd::Aimd,
    gradient::Gradient,
    refusals::Refusals,
    settings::{Adaptive, Kind},
    window::{Outcome, Sample, Seen, Window},
};

/// A limit that follows its samples. Time is an argument; nothing here reads a clock.
#[derive(Debug)]
pub(super) struct Control {
    limit: f64,
    min: f64,
    max: f64,
    /// What the limit was before refusals lowered it.
    before: f64,
    backoff: f64,
    law: Law,
    refusals: Refusals,
    window: Window,
    hold: f64,
    latency: f64,
}

#[derive(Debug)]
enum Law {
    Aimd(Aimd),
    Gradient(Gradient),
}

// ===== impl Control =====

impl Control {
    pub(super) fn new(settings: &Adaptive, now: u64) -> Self {
        let law = match settings.kind {
            Kind::Gradient => Law::Gradient(Gradient::new(settings.tolerance)),
            Kind::Aimd { threshold } => Law::Aimd(Aimd {
                threshold,
                backoff: settings.backoff,
            }),
        };
        let limit = settings.first_limit() as f64;
        Self {
            limit,
            before: limit,
            min: settings.min as f64,
            max: settings.max as f64,
            backoff: settings.backoff,
            law,
            refusals: Refusals::new(settings.backoff),
            window: Window::open(now, 0.0),
            hold: 0.0,
            latency: 0.0,
        }
    }

    /// The limit, in whole requests.
    pub(super) fn limit(&self) -> usize {
        // Saturates.
        self.limit as usize
    }

    /// Moves the limit by hand. It goes on from there.
    pub(super) fn force(&mut self, limit: usize, now: u64) {
        self.move_to(limit as f64, now);
        self.before = self.limit;
        self.refusals.interrupt();
        self.interrupt();
    }

    /// Takes a sample in. `held` is asked, when it is time for a step, how long slots were held since it was asked last: the sum,
    /// in nanoseconds, and of how many.
    pub(super) fn sample(&mut self, sample: &Sample, held: impl FnOnce() -> (u64, u64)) {
        if sample.outcome == Outcome::Dropped && !self.is_slow(sample.latency()) {
            // Who goes away early says nothing.
            return;
        }
        let is_refused = sample.outcome == Outcome::Overloaded;
        let is_least = self.is_least();
        self.refusals
            .count(self.limit, is_least, sample.in_flight, is_refused);
        self.window.add(sample);
        let limit = self.limit();
        let Some(mut seen) = self.window.close(sample.now, limit, &self.refusals) else {
            return;
        };
        let (sum, count) = held();
        if count > 0 {
            let hold = sum as f64 / count as f64;
            self.hold = if self.hold > 0.0 {
                (self.hold + hold) / 2.0
            } else {
                hold
            };
        }
        seen.hold = seen.hold.max(self.hold);
        self.latency = seen.latency.unwrap_or(self.latency);
        let limit = self.step(&seen);
        self.move_to(limit, sample.now);
    }

    fn step(&mut self, seen: &Seen) -> f64 {
        let is_least = self.is_least();
        if let Some(limit) = self.refusals.step(self.limit, is_least, seen.is_overloaded) {
            self.interrupt();
            self.before = limit;
            return limit;
        }
        if seen.is_overloaded {
            self.interrupt();
            return self.limit * self.backoff;
        }
        let next = match &mut self.law {
            Law::Aimd(aimd) => aimd.step(self.limit, seen),
            Law::Gradient(gradient) => gradient.step(self.limit, is_least, seen),
        };
        if seen.is_used || next < self.limit {
            self.before = next;
            return next;
        }
        // Or a failure now and then, under a load far below the limit, would take it down for good.
        next.max(self.before.min(self.limit + (self.limit / 10.0).max(1.0)))
    }

    /// Whether there is no less load to try.
    fn is_least(&self) -> bool {
        self.limit < self.min + 1.0
    }

    fn is_slow(&self, latency: f64) -> bool {
        match &self.law {
            Law::Aimd(aimd) => latency > aimd.threshold,
            Law::Gradient(gradient) => gradient
                .baseline()
                .is_some_and(|baseline| latency > 2.0 * baseline),
        }
    }

    fn interrupt(&mut self) {
        if let Law::Gradient(gradient) = &mut self.law {
            gradient.interrupt();
        }
    }

    fn move_to(&mut self, limit: f64, now: u64) {
        // Whatever it is: what is no number is the least.
        self.limit = limit.max(self.min).min(self.max);
        let round_trip = match &self.law {
            Law::Aimd(aimd) => self.latency.min(aimd.threshold),
            Law::Gradient(gradient) => gradient.baseline().unwrap_or(0.0),
        };
        self.window = Window::open(now, round_trip);
    }
}
