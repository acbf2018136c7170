//! The requests between two changes of the limit.

use crate::limit::concurrency::Priority;

/// The number of samples that a window has at least.
const SAMPLES: usize = 40;
/// One of so many may be rejected.
const REJECTED: usize = 5;

/// What a request says about the load on the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::limit::concurrency) enum SampleOutcome {
    /// It was answered.
    Answered,
    /// It was rejected, or timed out, because of too much load.
    Overloaded,
    /// It was dropped: a response would have taken this long, or longer.
    Dropped,
}

/// One request, at the end of its latency. Times are in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) started: u64,
    /// The part of the time in which nothing was asked of the other side.
    pub(super) idle: u64,
    pub(super) now: u64,
    /// The number of requests in flight, including this one.
    pub(super) in_flight: usize,
    pub(super) outcome: SampleOutcome,
}

/// The summary of a window.
#[derive(Debug, Clone, Copy)]
pub(super) enum Summary {
    /// More than the tolerated share was rejected.
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
    /// Whether the limit was reached, or nearly.
    pub(super) is_used: bool,
}

/// The samples since the last change of the limit.
#[derive(Debug, Default)]
pub(super) struct SampleWindow {
    opened: u64,
    /// The start of its first request, which is late if more than the limit were in flight.
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

    /// The summary, once there are enough samples, over two round trips: the first responses are the
    /// fast ones.
    pub(super) fn close(&self, now: u64, limit: usize) -> Option<Summary> {
        let samples = self.answered + self.rejected;
        // Rejections are fast: those in flight may still be answered.
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
            // The share of the lowest priority: a limit that only this one uses can rise.
            is_used: self.peak >= Priority::Low.share(limit),
        }))
    }
}
