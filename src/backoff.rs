//! Exponential backoff, computed from a random number.

use std::time::Duration;

/// The most that is added to a server's hint, besides the limit of a tenth.
const MOST_ABOVE_HINT: u64 = 1_000_000_000;

/// Exponential backoff with jitter.
///
/// The wait before retry `n`, counted from 0, is random. [`Jitter`] sets its range, from `base *
/// 2^n`, which is at most `cap`.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use tower_throttle::retry::{Backoff, Jitter};
///
/// let backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5))
///     .jitter(Jitter::Equal);
/// // 100, 200, 400 and 800 ms; half of it is certain, the rest is chance.
/// let wait = backoff.wait(3, Duration::ZERO, rand::random());
/// assert!(wait >= Duration::from_millis(400) && wait <= Duration::from_millis(800));
/// ```
///
/// # Edge cases
///
/// A base of 0 never waits. A base above the cap counts as the cap. Waits of over 584 years count
/// as 584 years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use]
pub struct Backoff {
    base: Duration,
    cap: Duration,
    jitter: Jitter,
}

/// The random part of a wait, so that clients that failed together do not return together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Jitter {
    /// From 0 to the whole wait. Spreads the clients best.
    #[default]
    Full,
    /// From half of the wait to the whole wait.
    Equal,
    /// From the base to three times the previous wait, or the base before the first retry, in place
    /// of doubling.
    Decorrelated,
}

// ===== impl Backoff =====

impl Backoff {
    /// Creates a backoff that starts at `base`, doubles up to `cap`, and has full jitter.
    pub const fn new(base: Duration, cap: Duration) -> Self {
        Self {
            base,
            cap,
            jitter: Jitter::Full,
        }
    }

    /// Returns the base.
    pub(crate) const fn base(&self) -> Duration {
        self.base
    }

    /// Lowers the cap to `most`.
    pub(crate) fn at_most(mut self, most: Duration) -> Self {
        self.cap = self.cap.min(most);
        self
    }

    /// Sets the jitter of each wait. Default: [`Jitter::Full`].
    pub const fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// Returns the wait before retry number `retry`, counted from 0. `previous` is the previous
    /// wait, and `random` a uniform random number.
    #[must_use]
    pub fn wait(&self, retry: u32, previous: Duration, random: u64) -> Duration {
        let cap = nanos(self.cap);
        let base = nanos(self.base).min(cap);
        let times = 1_u64.checked_shl(retry).unwrap_or(u64::MAX);
        let doubled = base.saturating_mul(times).min(cap);
        let (least, most) = match self.jitter {
            Jitter::Full => (0, doubled),
            Jitter::Equal => (doubled / 2, doubled),
            Jitter::Decorrelated => {
                let previous = nanos(previous).max(base);
                (base, previous.saturating_mul(3).min(cap))
            }
        };
        Duration::from_nanos(between(least, most, random))
    }
}

impl Default for Backoff {
    /// Returns a backoff from half a second to 30 seconds, with full jitter.
    fn default() -> Self {
        Self::new(Duration::from_millis(500), Duration::from_secs(30))
    }
}

/// Returns a wait of at least `hint`, and longer by at most a tenth and at most a second.
///
/// A server sends the same instant to all clients that it rejects.
pub(crate) fn above_hint(hint: Duration, random: u64) -> Duration {
    let most = (nanos(hint) / 10).min(MOST_ABOVE_HINT);
    hint.saturating_add(Duration::from_nanos(between(0, most, random)))
}

/// Scales `random` into `least..=most`.
fn between(least: u64, most: u64, random: u64) -> u64 {
    let span = u128::from(most - least) + 1;
    // Less than `span`, which is at most 2^64.
    least + ((span * u128::from(random)) >> 64) as u64
}

/// Returns a duration in nanoseconds; one of over 584 years counts as 584 years.
#[inline]
pub(crate) fn nanos(duration: Duration) -> u64 {
    // In 64 bits: this is on the path of every request.
    let whole = duration.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(duration.subsec_nanos().into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn backoff(jitter: Jitter) -> Backoff {
        Backoff::new(MS(100), MS(1_000)).jitter(jitter)
    }

    fn jitters() -> impl Strategy<Value = Jitter> {
        prop_oneof![
            Just(Jitter::Full),
            Just(Jitter::Equal),
            Just(Jitter::Decorrelated)
        ]
    }

    fn durations() -> impl Strategy<Value = Duration> {
        prop_oneof![
            any::<Duration>(),
            (0_u64..10_000).prop_map(MS),
            Just(Duration::ZERO),
            Just(Duration::MAX),
        ]
    }

    /// Returns the shortest and the longest wait of a retry.
    fn range(backoff: Backoff, retry: u32, previous: Duration) -> (Duration, Duration) {
        (
            backoff.wait(retry, previous, 0),
            backoff.wait(retry, previous, u64::MAX),
        )
    }

    #[test]
    fn the_ranges_double_up_to_the_cap() {
        for (retry, millis) in [(0, 100), (1, 200), (2, 400), (3, 800), (4, 1_000)] {
            let (least, most) = (MS(millis / 2), MS(millis));
            assert_eq!(
                range(backoff(Jitter::Full), retry, MS(0)),
                (MS(0), most),
                "{retry}"
            );
            assert_eq!(
                range(backoff(Jitter::Equal), retry, MS(0)),
                (least, most),
                "{retry}"
            );
        }
        for retry in [5, 31, 32, 63, 64, 65, u32::MAX] {
            assert_eq!(
                backoff(Jitter::Full).wait(retry, MS(0), u64::MAX),
                MS(1_000)
            );
        }
    }

    #[test]
    fn edges_saturate() {
        let never = Backoff::new(MS(0), MS(1_000));
        assert_eq!(never.wait(u32::MAX, MS(0), u64::MAX), MS(0));
        let above = Backoff::new(MS(5_000), MS(1_000));
        assert_eq!(range(above, 0, MS(0)), (MS(0), MS(1_000)));
        let endless = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!(
            endless.wait(9, MS(0), u64::MAX),
            Duration::from_nanos(u64::MAX)
        );
    }

    #[test]
    fn decorrelated_waits_follow_the_one_before() {
        let backoff = backoff(Jitter::Decorrelated);
        assert_eq!(range(backoff, 0, MS(0)), (MS(100), MS(300)));
        assert_eq!(range(backoff, 1, MS(100)), (MS(100), MS(300)));
        assert_eq!(range(backoff, 1, MS(250)), (MS(100), MS(750)));
        assert_eq!(range(backoff, 9, MS(900)), (MS(100), MS(1_000)));
    }

    #[test]
    fn random_numbers_map_to_the_whole_range() {
        let half = backoff(Jitter::Full).wait(0, MS(0), u64::MAX / 2);
        assert_eq!(half.as_millis(), 50);
        assert_eq!(between(0, u64::MAX, u64::MAX), u64::MAX);
        assert_eq!(between(0, u64::MAX, 5), 5);
        assert_eq!(between(7, 7, u64::MAX), 7);
    }

    #[test]
    fn a_hint_is_exceeded_by_a_tenth_or_a_second() {
        for (hint, most) in [
            (MS(0), MS(0)),
            (MS(1_000), MS(1_100)),
            (MS(10_000), MS(11_000)),
            (MS(60_000), MS(61_000)),
            (Duration::MAX, Duration::MAX),
        ] {
            assert_eq!(above_hint(hint, 0), hint);
            assert_eq!(above_hint(hint, u64::MAX), most);
        }
    }

    proptest! {
        #[test]
        fn no_wait_is_above_the_cap(
            base in durations(), cap in durations(), jitter in jitters(),
            retry: u32,
            previous in durations(), random: u64,
        ) {
            let wait = Backoff::new(base, cap).jitter(jitter).wait(retry, previous, random);
            prop_assert!(wait <= cap);
        }

        #[test]
        fn with_the_same_luck_a_later_retry_waits_no_less(
            base in durations(), cap in durations(), retry in 0_u32..100, random: u64,
        ) {
            for jitter in [Jitter::Full, Jitter::Equal] {
                let backoff = Backoff::new(base, cap).jitter(jitter);
                let wait = |retry| backoff.wait(retry, Duration::ZERO, random);
                prop_assert!(wait(retry) <= wait(retry + 1));
            }
        }

        #[test]
        fn a_higher_cap_never_makes_a_wait_shorter(
            base in durations(), cap in durations(), more in durations(), jitter in jitters(),
            retry: u32,
            previous in durations(), random: u64,
        ) {
            let wait = |cap| Backoff::new(base, cap).jitter(jitter).wait(retry, previous, random);
            prop_assert!(wait(cap) <= wait(cap.saturating_add(more)));
        }

        #[test]
        fn lower_bounds_of_the_jitters(
            base in 0_u64..1_000_000, cap in 0_u64..1_000_000, retry: u32,
            previous in durations(), random: u64,
        ) {
            let backoff = Backoff::new(MS(base), MS(cap));
            let equal = backoff.jitter(Jitter::Equal);
            let most = equal.wait(retry, previous, u64::MAX);
            prop_assert!(equal.wait(retry, previous, random) >= most / 2);
            let decorrelated = backoff.jitter(Jitter::Decorrelated);
            prop_assert!(decorrelated.wait(retry, previous, random) >= MS(base.min(cap)));
        }

        #[test]
        fn a_hint_is_never_undercut(hint in durations(), random: u64) {
            let wait = above_hint(hint, random);
            prop_assert!(wait >= hint);
            prop_assert!(wait - hint <= hint / 10 && wait - hint <= Duration::from_secs(1));
        }
    }
}
