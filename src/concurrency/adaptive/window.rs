//! What the requests between two changes of the limit have shown.

use super::refusals::Refusals;
use crate::concurrency::Priority;

/// A window is open for this long at least, in nanoseconds, however fast the answers.
const SHORTEST: f64 = 10e6;
/// How many samples a window has, at least, and at most where their mean is not certain yet.
const SAMPLES: (usize, usize) = (10, 200);
/// A mean is certain where its standard error is at most this, of 1.
const CERTAIN: f64 = 0.08;
/// Nor is more certainty waited for longer than so many round trips.
const PATIENCE: f64 = 10.0;
/// Where so many times as many as are in flight have ended within a round trip, it is none: by Little's law they take less than one of
/// so many parts of it.
const SURELY_SHORTER: usize = 10;

/// What a request says of the other side's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::concurrency) enum Outcome {
    /// It was answered.
    Answered,
    /// It was refused, or took too long, because of too much load.
    Overloaded,
    /// Nobody waited for the answer any more: it would have taken this long, or longer.
    Dropped,
}

/// One request, at the end of what is measured of it. Times are in nanoseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sample {
    pub(super) started: u64,
    /// How long nobody worked for it since then.
    pub(super) idle: u64,
    pub(super) now: u64,
    /// How many are in flight, this one among them.
    pub(super) in_flight: usize,
    pub(super) outcome: Outcome,
}

/// What a window has seen.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen {
    /// The mean latency of the answered, in nanoseconds: the geometric one, which one answer that is a hundred times as slow as
    /// the others does not move by much.
    pub(super) latency: Option<f64>,
    /// The standard error of that mean, of 1.
    pub(super) error: f64,
    pub(super) is_overloaded: bool,
    /// How many were in flight on average.
    pub(super) in_flight: f64,
    /// Whether the limit was reached, or nearly.
    pub(super) is_used: bool,
    /// How long a slot is held from the call on, on average, in nanoseconds: longer than the latency where that ends before the request
    /// does.
    pub(super) hold: f64,
}

/// The samples since the last change of the limit.
#[derive(Debug)]
pub(super) struct Window {
    opened: u64,
    /// A round trip, as far as it is known, in nanoseconds.
    round_trip: f64,
    /// When the first of its requests started. Under a lowered limit that takes a while.
    first: u64,
    logarithms: f64,
    squares: f64,
    answered: usize,
    overloaded: usize,
    in_flight: f64,
    peak: usize,
    /// How many of the answered were not measured.
    unmeasured: usize,
    early: Early,
}

/// The samples of the first round trip.
#[derive(Debug, Clone, Copy)]
struct Early {
    count: usize,
    logarithms: f64,
    peak: usize,
}

// ===== impl Sample =====

impl Sample {
    pub(super) fn latency(&self) -> f64 {
        let took = self.now.saturating_sub(self.started);
        // Never 0, which has no logarithm.
        took.saturating_sub(self.idle).max(1) as f64
    }
}

// ===== impl Window =====

impl Window {
    pub(super) const fn open(now: u64, round_trip: f64) -> Self {
        Self {
            opened: now,
            round_trip,
            first: u64::MAX,
            logarithms: 0.0,
            squares: 0.0,
            answered: 0,
            overloaded: 0,
            in_flight: 0.0,
            peak: 0,
            unmeasured: 0,
            early: Early::NONE,
        }
    }

    /// Takes a sample in, unless its request met another limit than the present one.
    pub(super) fn add(&mut self, sample: &Sample) {
        if sample.started < self.opened {
            return;
        }
        self.first = self.first.min(sample.started);
        match sample.outcome {
            Outcome::Overloaded => self.overloaded += 1,
            // Only the fast ones end in the first round trip.
            _ if (sample.now.saturating_sub(self.first) as f64) < self.round_trip => {
                return self.add_early(sample);
            }
            Outcome::Answered | Outcome::Dropped => {
                let logarithm = sample.latency().ln();
                self.logarithms += logarithm;
                self.squares += logarithm * logarithm;
                self.answered += 1;
            }
        }
        self.in_flight += sample.in_flight as f64;
        self.peak = self.peak.max(sample.in_flight);
    }

    /// A round trip that was learned from an outage, or while the machine stood still, must not be waited for where answers have become
    /// fast again.
    fn add_early(&mut self, sample: &Sample) {
        self.unmeasured += 1;
        let early = &mut self.early;
        early.count += 1;
        early.logarithms += sample.latency().ln();
        early.peak = early.peak.max(sample.in_flight);
        if early.count > SURELY_SHORTER.saturating_mul(early.peak) {
            self.round_trip = (early.logarithms / early.count as f64).exp();
            self.opened = sample.now;
            self.first = u64::MAX;
            self.early = Early::NONE;
        }
    }

    /// What was seen, once it is enough for a step: a round trip of it, so that the step before this one has had its effect.
    pub(super) fn close(&self, now: u64, limit: usize, refusals: &Refusals) -> Option<Seen> {
        let age = now.saturating_sub(self.first) as f64;
        let all = self.answered + self.unmeasured + self.overloaded;
        let is_overloaded = refusals.are_many(self.overloaded, all);
        // The second round trip is what is measured. A refusal needs no more than one, unless there always are some.
        let is_early = is_overloaded && !refusals.are_usual();
        let trips = if is_early { 1.0 } else { 2.0 };
        let is_few = self.answered < SAMPLES.0 && !is_overloaded;
        if is_few || age < (trips * self.round_trip).max(SHORTEST) {
            return None;
        }
        let answered = (self.answered as f64).max(1.0);
        let mean = self.logarithms / answered;
        let variance = (self.squares / answered - mean * mean).max(0.0);
        let error = (variance / answered).sqrt();
        let latency = (self.answered > 0).then(|| mean.exp());
        let round_trip = latency.unwrap_or(0.0).max(self.round_trip);
        let is_certain = error <= CERTAIN
            || self.answered >= SAMPLES.1
            || is_overloaded
            || age >= PATIENCE * round_trip;
        if !is_certain || age < trips * round_trip {
            return None;
        }
        Some(Seen {
            latency,
            error,
            is_overloaded,
            in_flight: self.in_flight / (self.answered + self.overloaded) as f64,
            // The share of the lowest priority, or a limit that only that one uses would never rise.
            is_used: self.peak >= Priority::Low.share(limit),
            hold: latency.unwrap_or(1.0),
        })
    }
}

// ===== impl Early =====

impl Early {
    const NONE: Self = Self {
        count: 0,
        logarithms: 0.0,
        peak: 0,
    };
}
