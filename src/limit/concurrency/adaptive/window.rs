//! The samples between two changes of the limit.

use crate::limit::concurrency::Priority;

/// The minimum number of samples in a window.
const SAMPLES: usize = 40;
/// The tolerated share of rejections is one in this number.
const REJECTED: usize = 5;

/// What a request shows about the load of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit::concurrency) enum SampleOutcome {
    /// A response.
    Answered,
    /// A rejection or timeout because of too much load.
    Overloaded,
    /// The request was dropped: a response would have taken at least this long.
    Dropped,
}

/// One request, at the end of its latency. Times are in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(in crate::limit::concurrency) struct Sample {
    pub(in crate::limit::concurrency) started: u64,
    /// The part of the time in which the response was not polled.
    pub(in crate::limit::concurrency) idle: u64,
    pub(in crate::limit::concurrency) now: u64,
    /// The number of requests in flight, including this one.
    pub(in crate::limit::concurrency) in_flight: usize,
    pub(in crate::limit::concurrency) outcome: SampleOutcome,
}

/// The summary of a window.
#[derive(Debug, Clone, Copy)]
pub(super) enum Summary {
    /// More than the tolerated share of requests was rejected.
    Rejected,
    Answered(Answers),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Answers {
    /// The geometric mean, which a few outliers hardly move, in nanoseconds.
    pub(super) latency: f64,
    /// The time for which a request is in flight, in nanoseconds. Longer than the latency if that
    /// ends before the body does.
    pub(super) hold: f64,
    /// The mean number of requests in flight.
    pub(super) in_flight: f64,
    /// Whether the limit was nearly or fully used.
    pub(super) is_used: bool,
}

/// The samples since the last change of the limit.
#[derive(Debug, Default)]
pub(super) struct SampleWindow {
    opened: u64,
    /// The start of its first request, delayed if more requests than the limit were in flight.
    first: u64,
    logarithms: f64,
    answered: usize,
    rejected: usize,
    in_flight: f64,
    peak: usize,
}

// ===== impl Sample =====

impl Sample {
    pub(super) fn latency(&self) -> f64 {
        let took = self.now.saturating_sub(self.started);
        // Zero has no logarithm.
        took.saturating_sub(self.idle).max(1) as f64
    }
}

// ===== impl SampleWindow =====

impl SampleWindow {
    pub(super) fn open(now: u64) -> Self {
        Self {
            opened: now,
            first: u64::MAX,
            ..Self::default()
        }
    }

    /// Adds a sample, unless its request started under another limit.
    pub(super) fn add(&mut self, sample: &Sample) {
        if sample.started < self.opened {
            return;
        }
        self.first = self.first.min(sample.started);
        self.in_flight += sample.in_flight as f64;
        self.peak = self.peak.max(sample.in_flight);
        if sample.outcome == SampleOutcome::Overloaded {
            self.rejected += 1;
        } else {
            self.answered += 1;
            self.logarithms += sample.latency().ln();
        }
    }

    /// Returns the summary once there are enough samples, after two round trips, because the first
    /// responses are the fastest.
    pub(super) fn close(&self, now: u64, limit: usize) -> Option<Summary> {
        let samples = self.answered + self.rejected;
        // Rejections are fast; the requests in flight may still succeed.
        let of = samples.saturating_add(self.peak).max(SAMPLES);
        if self.rejected * REJECTED > of {
            return Some(Summary::Rejected);
        }
        let latency = (self.logarithms / self.answered as f64).exp();
        let age = now.saturating_sub(self.first) as f64;
        if self.answered < SAMPLES || age < 2.0 * latency {
            return None;
        }
        let in_flight = self.in_flight / samples as f64;
        Some(Summary::Answered(Answers {
            latency,
            // By Little's law. No response arrives in the first round trip.
            hold: (in_flight * (age - latency) / samples as f64).max(latency),
            in_flight,
            // The share of the lowest priority, so that a limit used only by that priority can
            // rise.
            is_used: self.peak >= Priority::Low.share(limit),
        }))
    }
}
