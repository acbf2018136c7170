//! Where a limiter reads the time.

use std::{fmt, time::Duration};

use tokio::time::Instant;

use crate::limit::quota::nanos;

/// How late a request that waited its turn may start without losing the rest of the queue any
/// capacity, and how much longer than its maximum wait it may take.
///
/// Timers tick once a millisecond, so at 2,000 a second with a burst of 1 every other wake-up is
/// late by half a millisecond; counted from the wake-up, a quarter of the rate would be lost. Ten
/// milliseconds cover a tick and a busy scheduler, and bound what can start at once after a longer
/// stall.
pub(crate) const TIMER_LATENESS: Duration = Duration::from_millis(10);

/// The clock that a limiter reads.
///
/// The default is tokio's, so that `tokio::time::pause` drives the limiter in a test. Reading it is
/// most of what a decision costs; with the feature `quanta` there is one that costs less than half.
///
/// ```
/// # #[cfg(feature = "quanta")] {
/// use tower_throttle::{Clock, Quota, TokenBucketLayer};
///
/// let layer = TokenBucketLayer::with_clock(Quota::per_second(100_000), Clock::quanta());
/// # let _ = layer; }
/// ```
#[derive(Clone)]
pub struct Clock(ClockSource);

#[derive(Clone)]
enum ClockSource {
    Tokio(Instant),
    #[cfg(feature = "quanta")]
    Quanta(quanta::Clock, u64),
}

impl Clock {
    /// [`tokio::time::Instant`], which a paused runtime moves by hand.
    #[must_use]
    pub fn tokio() -> Self {
        Self(ClockSource::Tokio(Instant::now()))
    }

    /// The processor's own counter, if it has one that can be trusted. A paused runtime does not
    /// move it.
    #[cfg(feature = "quanta")]
    #[cfg_attr(docsrs, doc(cfg(feature = "quanta")))]
    #[must_use]
    pub fn quanta() -> Self {
        let clock = quanta::Clock::new();
        let start = clock.raw();
        Self(ClockSource::Quanta(clock, start))
    }

    /// Nanoseconds since this clock was made; never goes back.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match &self.0 {
            ClockSource::Tokio(start) => nanos(Instant::now().saturating_duration_since(*start)),
            #[cfg(feature = "quanta")]
            ClockSource::Quanta(clock, start) => clock.delta_as_nanos(*start, clock.raw()),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::tokio()
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            ClockSource::Tokio(_) => "Clock::Tokio",
            #[cfg(feature = "quanta")]
            ClockSource::Quanta(..) => "Clock::Quanta",
        })
    }
}
