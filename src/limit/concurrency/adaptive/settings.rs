//! The settings of an adaptive limit.

use std::time::Duration;

use crate::limit::quota::nanos;

/// The algorithm of an adaptive limit and its bounds. See the
/// [module docs](crate::concurrency#adaptive-limits).
///
/// Values out of range are clamped: no limit is below 1 or above 2³² − 1, and of `min` and `max` the
/// one that is set last moves the other.
///
/// ```
/// use std::time::Duration;
/// use tower_throttle::{ConcurrencyLayer, concurrency::{Adaptive, Latency}};
///
/// // Between 4 and 200, and as many as can be in flight without a queue on the other side.
/// let layer = ConcurrencyLayer::adaptive(Adaptive::gradient().min(4).max(200));
/// assert_eq!(layer.limiter().limit(), 20);
///
/// // As many as get their whole answer within 300 ms on average.
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
    /// In nanoseconds.
    Aimd {
        threshold: f64,
    },
}

/// Which part of a request's time is its latency. It begins with the call of the inner service, after the time in the queue,
/// and goes on only while somebody waits for the answer: not while a response lies there and nobody reads its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Latency {
    /// To the response's headers.
    Headers,
    /// To the first byte of the response's body, or its end where it has none. Unless told otherwise.
    ///
    /// An answer that streams for a minute is no slower for it. Where headers are sent before the work is done, as those of AI
    /// providers are, this is when it has begun; elsewhere it is all but the same as the headers. What can't be seen inside of, such
    /// as a response that is not HTTP, is measured to its headers. Bodies that are dropped unread say nothing: where nobody reads
    /// them, measure to the headers.
    #[default]
    FirstByte,
    /// To the end of the response's body. For answers that are all alike.
    End,
}

// ===== impl Adaptive =====

impl Adaptive {
    /// Finds the limit above which latency rises, whatever the latency is. The one to begin with.
    ///
    /// Each step multiplies the limit by the latency that is tolerated over the latency that was
    /// measured, or adds 1 if that is more; it halves the limit at most. Tolerated is the latency without a
    /// queue times [`tolerance`](Self::tolerance). Every 32 steps, the limit goes down to three quarters
    /// for a step or two to measure the latency without a queue anew.
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

    /// Additive increase, multiplicative decrease: adds the limit's square root as long as the mean
    /// latency is at most `threshold`, and else lowers the limit to nine tenths.
    ///
    /// If the threshold is below the latency without a queue, the limit goes down to `min` and stays
    /// there.
    pub fn aimd(threshold: Duration) -> Self {
        let kind = Kind::Aimd {
            threshold: nanos(threshold) as f64,
        };
        Self {
            kind,
            ..Self::gradient()
        }
    }

    /// The lowest that the limit gets. 1 unless told, and never 0.
    pub const fn min(mut self, min: usize) -> Self {
        self.min = sound(min);
        if self.max < self.min {
            self.max = self.min;
        }
        self
    }

    /// The highest that the limit gets. 1,000 unless told.
    pub const fn max(mut self, max: usize) -> Self {
        self.max = sound(max);
        if self.min > self.max {
            self.min = self.max;
        }
        self
    }

    /// The limit to begin with. 20 unless told, or the nearest that lies within the bounds.
    pub const fn initial(mut self, initial: usize) -> Self {
        self.initial = initial;
        self
    }

    /// How much higher than without a queue the mean latency may be, as a factor, for [`gradient`](Self::gradient). 1.1 unless told;
    /// between 1.01 and 10.
    ///
    /// Raise it where latencies differ so much that the limit moves about.
    pub const fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance.max(1.01).min(10.0);
        self
    }

    /// The factor of a decrease: if more than a fifth of the requests was rejected, and, for
    /// [`aimd`](Self::aimd), if latency is over the threshold. The default is 0.9; between 0.1 and 0.99.
    pub const fn backoff(mut self, backoff: f64) -> Self {
        self.backoff = backoff.max(0.1).min(0.99);
        self
    }

    /// Which part of a request's time is its latency. [`Latency::FirstByte`] unless told.
    pub const fn measure(mut self, latency: Latency) -> Self {
        self.latency = latency;
        self
    }
}

/// Not 0, and exact as a float.
const fn sound(limit: usize) -> usize {
    if limit == 0 {
        1
    } else if limit > u32::MAX as usize {
        u32::MAX as usize
    } else {
        limit
    }
}
