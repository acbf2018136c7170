//! The settings of an adaptive limit.

use std::time::Duration;

use crate::limit::quota::nanos;

/// The algorithm and the bounds of an adaptive limit. See the [module
/// docs](crate::concurrency#adaptive-limits).
///
/// Values out of range are clamped: a limit is between 1 and 2³² − 1. If `min` is above `max`, the
/// one that was set first is changed.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_throttle::{ConcurrencyLayer, concurrency::{Adaptive, Latency}};
///
/// // Between 4 and 200, and as many as can be in flight without a queue at the server.
/// let layer = ConcurrencyLayer::adaptive(Adaptive::gradient().min(4).max(200));
/// assert_eq!(layer.limiter().limit(), 20);
///
/// // As many as get their whole response within 300 ms on average.
/// let adaptive = Adaptive::aimd(Duration::from_millis(300)).measure(Latency::End);
/// let layer = ConcurrencyLayer::adaptive(adaptive).max_waiting(100);
/// # let _ = layer;
/// ```
#[derive(Debug, Clone, Copy, PartialEq)]
#[must_use]
pub struct Adaptive {
    pub(super) kind: Kind,
    pub(super) min: usize,
    pub(super) max: usize,
    pub(super) initial: usize,
    pub(super) tolerance: f64,
    pub(super) backoff: f64,
    pub(super) latency: Latency,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Kind {
    Gradient,
    /// With the highest latency that it tolerates, in nanoseconds.
    Aimd(f64),
}

/// The part of a request's time that is its latency. It starts with the call of the inner service,
/// after the queue. The time in which the response's body is not polled does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Latency {
    /// To the response's headers.
    Headers,
    /// To the first byte of the response's body, or to its end if it is empty. The default.
    ///
    /// The length of a stream does not count. AI providers send headers before the model has
    /// started; the first byte is when it has. For other servers the two are nearly the same.
    /// Comments, pings and blank lines that keep an event stream alive are not counted as bytes.
    /// Responses that are not HTTP are measured to their headers. Bodies that are dropped without
    /// being read are ignored: if bodies are not read, measure to the headers.
    #[default]
    FirstByte,
    /// To the end of the response's body. For responses of similar length.
    End,
}

// ===== impl Adaptive =====

impl Adaptive {
    /// Finds the limit above which latency rises, whatever the latency is. Start with this one.
    ///
    /// Each step multiplies the limit by the tolerated latency divided by the measured one, or adds
    /// 1 if that is more; it halves the limit at most. The tolerated latency is the one without a
    /// queue times [`tolerance`](Self::tolerance). Every 32 steps, the limit is lowered to three
    /// quarters for a step or two, to measure the latency without a queue again.
    pub const fn gradient() -> Self {
        Self {
            kind: Kind::Gradient,
            min: 1,
            max: 1_000,
            initial: 20,
            tolerance: 1.1,
            backoff: 0.9,
            latency: Latency::FirstByte,
        }
    }

    /// Additive increase, multiplicative decrease: adds the square root of the limit if the mean
    /// latency is at most `threshold`, and otherwise lowers the limit to nine tenths.
    ///
    /// If the threshold is below the latency without a queue, the limit falls to `min` and stays
    /// there.
    pub fn aimd(threshold: Duration) -> Self {
        let kind = Kind::Aimd(nanos(threshold) as f64);
        Self {
            kind,
            ..Self::gradient()
        }
    }

    /// Sets the minimum of the limit. Default: 1. 0 counts as 1.
    pub const fn min(mut self, min: usize) -> Self {
        self.min = sound(min);
        if self.max < self.min {
            self.max = self.min;
        }
        self
    }

    /// Sets the maximum of the limit. Default: 1,000.
    pub const fn max(mut self, max: usize) -> Self {
        self.max = sound(max);
        if self.min > self.max {
            self.min = self.max;
        }
        self
    }

    /// Sets the initial limit. Default: 20, clamped to the bounds.
    pub const fn initial(mut self, initial: usize) -> Self {
        self.initial = initial;
        self
    }

    /// Sets the tolerance of [`gradient`](Self::gradient): the tolerated mean latency divided by
    /// the one without a queue. Default: 1.1; clamped to 1.01 to 10.
    ///
    /// Raise it if latencies vary so much that the limit is unstable.
    pub const fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance.max(1.01).min(10.0);
        self
    }

    /// Sets the factor of a decrease: if more than a fifth of the requests was rejected, and, for
    /// [`aimd`](Self::aimd), if the latency is above the threshold. Default: 0.9; clamped to 0.1 to
    /// 0.99.
    pub const fn backoff(mut self, backoff: f64) -> Self {
        self.backoff = backoff.max(0.1).min(0.99);
        self
    }

    /// Sets which part of a request's time is its latency. Default: [`Latency::FirstByte`].
    pub const fn measure(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }

    pub(in crate::limit::concurrency) fn first_limit(&self) -> usize {
        self.initial.clamp(self.min, self.max)
    }
}

/// Clamps a limit to at least 1, and so that a float holds it exactly.
const fn sound(limit: usize) -> usize {
    if limit == 0 {
        1
    } else if limit > u32::MAX as usize {
        u32::MAX as usize
    } else {
        limit
    }
}
