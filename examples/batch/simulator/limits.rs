//! The configuration of the provider.

use std::time::Duration;

use super::{
    chaos::Chaos,
    style::Style,
    tokens::{UsageShare, scatter},
};

/// What the provider allows, and how it behaves.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Requests in each window.
    pub(crate) requests: Option<u64>,
    /// Requests in each day: always a sliding window, whatever the kind of the rest.
    pub(crate) requests_per_day: Option<u64>,
    /// Tokens in each window, of prompts and responses together.
    pub(crate) tokens: Option<u64>,
    /// Tokens of prompts in each window.
    pub(crate) input_tokens: Option<u64>,
    /// Tokens of responses in each window.
    pub(crate) output_tokens: Option<u64>,
    /// Requests in flight, from their arrival to the end of their responses.
    pub(crate) concurrent: Option<usize>,
    /// The length of a window, or how long an empty bucket takes to fill.
    pub(crate) window: Duration,
    /// The length of a day.
    pub(crate) day: Duration,
    /// How the limits per window are kept.
    pub(crate) kind: Kind,
    /// Whose headers, errors and way to count tokens.
    pub(crate) style: Style,
    /// How much of what they reserve requests really use.
    pub(crate) usage: UsageShare,
    /// How long a response takes.
    pub(crate) latency: Duration,
    /// How long at most. If that is longer, the logarithm of the time is normally distributed, with
    /// both ends at two standard deviations.
    pub(crate) longest_latency: Duration,
    /// Whether a request that is rejected with 429 counts as a request.
    pub(crate) counts_rejected: bool,
    /// How old the state is that headers report.
    pub(crate) staleness: Duration,
    /// How much of each limit per window other users of the key take, in per cent.
    pub(crate) others: u64,
    /// When the provider is down.
    pub(crate) outage: Option<Outage>,
    /// What else goes wrong.
    pub(crate) chaos: Option<Chaos>,
    /// The key that every request must bear.
    pub(crate) key: Option<String>,
}

/// How a limit is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No more than the limit in any window, wherever it begins.
    #[default]
    Window,
    /// No more than the limit in each window: the next begins as one ends, the first with the first
    /// request.
    Fixed,
    /// A bucket that holds the limit, is full at the start, and is refilled evenly with one limit
    /// per window.
    Bucket,
}

/// A time in which every request is answered with an error that doesn't say how long it will last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Outage {
    /// Counted from the arrival of the first request.
    pub(crate) from: Duration,
    /// How long it lasts.
    pub(crate) lasts: Duration,
}

// ===== impl Limits =====

impl Default for Limits {
    /// No limits, windows of a minute, and short responses at once, in OpenAI's style.
    fn default() -> Self {
        Self {
            requests: None,
            requests_per_day: None,
            tokens: None,
            input_tokens: None,
            output_tokens: None,
            concurrent: None,
            window: Duration::from_secs(60),
            day: Duration::from_secs(24 * 60 * 60),
            kind: Kind::Window,
            style: Style::OPENAI,
            usage: UsageShare::Short,
            latency: Duration::ZERO,
            longest_latency: Duration::ZERO,
            counts_rejected: false,
            staleness: Duration::ZERO,
            others: 0,
            outage: None,
            chaos: None,
            key: None,
        }
    }
}

impl Limits {
    /// How long the response to the request of this `number` takes: the same in every run.
    pub(super) fn latency_of(&self, number: u64) -> Duration {
        if self.longest_latency <= self.latency {
            return self.latency;
        }
        let least = self.latency.as_secs_f64().max(1e-3).ln();
        let most = self.longest_latency.as_secs_f64().ln();
        let share = |n: u64| (scatter(scatter(n)) as f64 + 1.0) / (u64::MAX as f64 + 2.0);
        let (radius, angle) = (share(2 * number), share(2 * number + 1));
        let normal = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        let drawn = f64::midpoint(least, most) + normal * (most - least) / 4.0;
        Duration::from_secs_f64(drawn.clamp(least, most).exp())
    }
}

// ===== impl Outage =====

impl Outage {
    /// Whether the provider is down at this age.
    pub(crate) fn covers(&self, age: Duration) -> bool {
        age >= self.from && age - self.from < self.lasts
    }
}
