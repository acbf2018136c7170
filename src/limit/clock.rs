//! Where a limiter reads the time.

use std::{fmt, time::Duration};

use tokio::time::Instant;

use crate::limit::quota::nanos;
#[cfg(feature = "quanta")]
use crate::sync::{AtomicU64, Ordering};

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
    Quanta(std::sync::Arc<Counter>),
}

/// A counter that may go back, as some do if a machine is suspended or migrated. The time goes on
/// from the latest reading then.
#[cfg(feature = "quanta")]
struct Counter {
    clock: quanta::Clock,
    /// What the counter showed when the clock was made, in nanoseconds.
    start: u64,
    /// The latest reading, to a [`STEP`](Self::STEP).
    latest: AtomicU64,
    /// By how much the counter has gone back.
    behind: AtomicU64,
}

impl Clock {
    /// [`tokio::time::Instant`], which a paused runtime moves by hand.
    #[must_use]
    pub fn tokio() -> Self {
        Self(ClockSource::Tokio(Instant::now()))
    }

    /// The processor's own counter, if it has one that can be trusted. A paused runtime does not
    /// move it.
    ///
    /// If the counter goes back, the time continues from the latest reading.
    #[cfg(feature = "quanta")]
    #[must_use]
    pub fn quanta() -> Self {
        Self::of_counter(quanta::Clock::new())
    }

    #[cfg(feature = "quanta")]
    pub(crate) fn of_counter(clock: quanta::Clock) -> Self {
        Self(ClockSource::Quanta(std::sync::Arc::new(Counter {
            start: clock.delta_as_nanos(0, clock.raw()),
            clock,
            latest: AtomicU64::new(0),
            behind: AtomicU64::new(0),
        })))
    }

    /// Nanoseconds since this clock was made; never goes back, or by less than a timer's tick.
    #[inline]
    pub(crate) fn now(&self) -> u64 {
        match &self.0 {
            ClockSource::Tokio(start) => nanos(Instant::now().saturating_duration_since(*start)),
            #[cfg(feature = "quanta")]
            ClockSource::Quanta(counter) => counter.now(),
        }
    }
}

#[cfg(feature = "quanta")]
impl Counter {
    /// Readings of threads that run at the same time differ by less. Only a reading that is further
    /// from the latest one is noted, so that threads seldom write.
    const STEP: u64 = 1_000_000;

    #[inline]
    fn now(&self) -> u64 {
        // Before the counter: a thread that is interrupted in between must not compare an old
        // reading with the latest of other threads. Acquire keeps that order. `behind` comes last,
        // so it is at least the one of `latest`.
        let latest = self.latest.load(Ordering::Acquire);
        let behind = self.behind.load(Ordering::Acquire);
        let offset = behind.wrapping_sub(self.start);
        let shown = self.clock.delta_as_nanos(0, self.clock.raw());
        // Wraps only if it is far from the latest.
        let now = shown.wrapping_add(offset);
        match now.abs_diff(latest) < Self::STEP {
            true => now,
            false => self.step(latest, behind, shown),
        }
    }

    /// The same for a counter that has moved by a step, or has gone back.
    #[cold]
    fn step(&self, latest: u64, behind: u64, shown: u64) -> u64 {
        let at = |behind: u64| shown.saturating_add(behind).saturating_sub(self.start);
        let now = at(behind);
        if now > latest {
            self.latest.fetch_max(now, Ordering::Release);
            return now;
        }
        let behind = self.start.saturating_add(latest).saturating_sub(shown);
        // Threads that find it at the same time add it once.
        at(self.behind.fetch_max(behind, Ordering::Relaxed).max(behind))
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
            ClockSource::Quanta(_) => "Clock::Quanta",
        })
    }
}

#[cfg(all(test, feature = "quanta"))]
mod tests {
    use std::{sync::Arc, thread};

    use quanta::Mock;

    use super::*;
    use crate::limit::{
        Quota, sliding_window::SlidingWindowLimiter, token_bucket::TokenBucketLimiter,
    };

    const MINUTE: u64 = 60_000_000_000;

    fn clock(shown: u64) -> (Clock, Arc<Mock>) {
        let (clock, mock) = quanta::Clock::mock();
        mock.increment(shown);
        (Clock::of_counter(clock), mock)
    }

    #[test]
    fn time_continues_if_the_counter_goes_back() {
        // To before the clock was made, and to after it.
        for shown in [2 * MINUTE, 20 * MINUTE] {
            let (clock, mock) = clock(shown);
            assert_eq!(clock.now(), 0);
            mock.increment(10 * MINUTE);
            assert_eq!(clock.now(), 10 * MINUTE);
            for minutes in 10..15 {
                mock.decrement(2 * MINUTE);
                assert_eq!(clock.now(), minutes * MINUTE);
                mock.increment(MINUTE);
                assert_eq!(clock.now(), (minutes + 1) * MINUTE);
                assert_eq!(clock.clone().now(), (minutes + 1) * MINUTE);
            }
        }
    }

    #[test]
    fn debug_is_the_name() {
        assert_eq!(format!("{:?}", Clock::tokio()), "Clock::Tokio");
        assert_eq!(format!("{:?}", Clock::quanta()), "Clock::Quanta");
    }

    #[test]
    fn threads_agree_after_the_counter_went_back() {
        let (clock, mock) = clock(20 * MINUTE);
        mock.increment(10 * MINUTE);
        clock.now();
        mock.decrement(15 * MINUTE);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| assert_eq!(clock.now(), 10 * MINUTE));
            }
        });
    }

    /// A thread that is interrupted within a reading has not seen the counter go back.
    #[test]
    fn time_does_not_run_ahead_of_a_busy_machine() {
        let clock = Clock::quanta();
        let end = Instant::now() + Duration::from_millis(800);
        thread::scope(|scope| {
            for _ in 0..32 {
                scope.spawn(|| {
                    while Instant::now() < end {
                        for _ in 0..1_000 {
                            clock.now();
                        }
                    }
                });
            }
        });
        let ClockSource::Quanta(counter) = &clock.0 else {
            unreachable!("it is a counter")
        };
        assert_eq!(counter.behind.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn limits_continue_after_the_counter_went_back() {
        let (clock, mock) = clock(20 * MINUTE);
        let quota = Quota::per_minute(60).burst(1);
        let bucket = TokenBucketLimiter::with_clock(quota, clock.clone());
        let window = SlidingWindowLimiter::with_clock(Quota::per_second(1), clock);
        mock.increment(5 * MINUTE);
        for _ in 0..5 {
            assert!(bucket.try_acquire(1).is_ok() && window.try_acquire(1).is_ok());
            mock.decrement(3 * MINUTE);
            assert!(bucket.try_acquire(1).is_err() && window.try_acquire(1).is_err());
            mock.increment(MINUTE / 30);
        }
    }

    #[cfg(feature = "per-key")]
    #[test]
    fn limits_of_clients_continue() {
        use crate::limit::per_key::PerKeyLimiter;

        let (clock, mock) = clock(20 * MINUTE);
        let bucket = PerKeyLimiter::new(Quota::per_second(1)).clock(clock.clone());
        let window = PerKeyLimiter::window(Quota::per_second(1)).clock(clock);
        mock.increment(5 * MINUTE);
        for _ in 0..5 {
            let _ = bucket.try_acquire("a".into(), 1);
            let _ = window.try_acquire("a".into(), 1);
            mock.decrement(3 * MINUTE);
            assert_eq!((bucket.used("a".into()), window.used("a".into())), (1, 1));
            mock.increment(MINUTE / 30);
            assert_eq!((bucket.used("a".into()), window.used("a".into())), (0, 0));
        }
    }
}
