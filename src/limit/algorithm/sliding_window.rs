//! Sliding window: no period, at any offset, has more starts than the quota's units.
//!
//! The [`Log`] keeps the start of each unit and is exact. The [`Ring`] keeps sums over short parts
//! of the period: it counts a unit for up to one part too long, never too short, and its memory
//! does not grow with the quota.

use super::{sliding_log::Log, sliding_ring::Ring};
use crate::limit::{algorithm::Algorithm, decision::Decision, quota::Quota};

/// The largest quota with a place for each unit: 32 KiB at most.
const LARGEST_LOG: u64 = 4_096;

#[derive(Debug)]
pub struct SlidingCount(History);

#[derive(Debug)]
enum History {
    Log(Log),
    Ring(Ring),
}

// ===== impl SlidingCount =====

impl SlidingCount {
    pub(crate) fn new(quota: &Quota) -> Self {
        let (units, period) = (quota.units(), quota.period_nanos());
        Self(if units <= LARGEST_LOG {
            History::Log(Log::new(units, period))
        } else {
            History::Ring(Ring::new(units, period))
        })
    }
}

impl Algorithm for SlidingCount {
    fn capacity(&self) -> u64 {
        match &self.0 {
            History::Log(log) => log.capacity(),
            History::Ring(ring) => ring.capacity(),
        }
    }

    #[inline]
    fn take(&self, cost: u64, now: u64) -> Decision {
        if cost > self.capacity() {
            return Decision::Never;
        }
        match &self.0 {
            History::Log(log) => log.take(cost, now),
            History::Ring(ring) => ring.take(cost, now),
        }
    }

    fn wait(&self, units: u64, now: u64) -> u64 {
        match &self.0 {
            History::Log(log) => log.wait(units, now),
            History::Ring(ring) => ring.wait(units, now),
        }
    }

    fn due_in(&self, cost: u64, now: u64) -> u64 {
        match &self.0 {
            History::Log(log) => log.due_in(cost, now),
            History::Ring(ring) => ring.wait(cost, now),
        }
    }
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    /// Keeps every start, and applies the definition.
    struct Model {
        units: u64,
        period: u64,
        starts: Vec<(u64, u64)>,
    }

    impl Model {
        /// Returns whether `cost` more at `now` keep the last period within the quota.
        fn fits(&self, cost: u64, now: u64) -> bool {
            let recent = self.starts.iter().filter(|(at, _)| at + self.period > now);
            recent.map(|(_, cost)| cost).sum::<u64>() + cost <= self.units
        }

        /// Returns the most that started within any period, at any offset.
        fn fullest(&self) -> u64 {
            let from = |&(from, _): &(u64, u64)| {
                let within = |&&(at, _): &&(u64, u64)| (from..from + self.period).contains(&at);
                self.starts
                    .iter()
                    .filter(within)
                    .map(|(_, cost)| cost)
                    .sum()
            };
            self.starts.iter().map(from).max().unwrap_or(0)
        }
    }

    fn steps() -> impl Strategy<Value = Vec<(u64, u64)>> {
        let pause = prop_oneof![
            0..10_000_000u64,
            0..2 * SECOND,
            Just(SECOND),
            0..100 * SECOND
        ];
        prop::collection::vec((0..12u64, pause), 1..150)
    }

    /// On even nanoseconds, since the log rounds up to them.
    fn run(
        memory: &History,
        units: u64,
        steps: &[(u64, u64)],
        exact: bool,
    ) -> Result<(), TestCaseError> {
        let mut model = Model {
            units,
            period: SECOND,
            starts: Vec::new(),
        };
        let mut now = 0;
        for &(cost, pause) in steps {
            now += pause & !1;
            let cost = cost.min(units);
            let (promised, decision) = match memory {
                History::Log(log) => (log.wait(cost, now), log.take(cost, now)),
                History::Ring(ring) => (ring.wait(cost, now), ring.take(cost, now)),
            };
            if exact {
                prop_assert_eq!(decision.is_admit(), model.fits(cost, now));
            }
            match decision {
                Decision::Admit => {
                    prop_assert_eq!(promised, 0);
                    model.starts.push((now, cost));
                }
                Decision::Wait(wait) => {
                    let wait = wait.as_nanos() as u64;
                    prop_assert_eq!(promised, wait);
                    let again = |at| match memory {
                        History::Log(log) => log.take(cost, at),
                        History::Ring(ring) => ring.take(cost, at),
                    };
                    prop_assert!(!again(now + wait - 1).is_admit());
                    now += wait;
                    prop_assert!(again(now).is_admit());
                    model.starts.push((now, cost));
                }
                Decision::Never => prop_assert!(false, "{cost} fits into {units}"),
            }
        }
        prop_assert!(model.fullest() <= units, "{} of {units}", model.fullest());
        Ok(())
    }

    proptest! {
        #[test]
        fn the_log_is_exact_and_its_promised_wait_too(units in 1..40u64, steps in steps()) {
            run(&History::Log(Log::new(units, SECOND)), units, &steps, true)?;
        }

        #[test]
        fn the_ring_is_never_over_at_any_offset(units in 1..40u64, steps in steps()) {
            run(&History::Ring(Ring::new(units, SECOND)), units, &steps, false)?;
        }

        #[test]
        fn the_ring_holds_a_unit_no_longer_than_one_part_more(
            units in 1..40u64,
            start in 0..10 * SECOND,
        ) {
            let ring = Ring::new(units, SECOND);
            prop_assert!(ring.take(units, start).is_admit());
            prop_assert!(!ring.take(1, start + SECOND - 1).is_admit());
            prop_assert!(ring.take(1, start + SECOND + SECOND / 256 + 1).is_admit());
        }

        #[test]
        fn wait_is_until_the_last_unit_starts(
            units in 1..20u64,
            waiting in 1..100u64,
            started in prop::collection::vec(0..SECOND / 10, 0..20),
        ) {
            let log = Log::new(units, SECOND);
            let mut now = 0;
            for pause in started {
                now += pause & !1;
                let _ = log.take(1, now);
            }
            let promised = now + log.wait(waiting, now);
            let mut at = now;
            for _ in 0..waiting {
                while let Decision::Wait(wait) = log.take(1, at) {
                    at += wait.as_nanos() as u64;
                }
            }
            prop_assert_eq!(at, promised);
        }
    }

    proptest! {
        #[test]
        fn ring_wait_is_exact_to_one_part(
            units in 1..20u64,
            waiting in 1..100u64,
            started in prop::collection::vec(0..SECOND / 10, 0..20),
        ) {
            let ring = Ring::new(units, SECOND);
            let mut now = 0;
            for pause in started {
                now += pause;
                let _ = ring.take(1, now);
            }
            let promised = now + ring.wait(waiting, now);
            let mut at = now;
            for _ in 0..waiting {
                while let Decision::Wait(wait) = ring.take(1, at) {
                    at += wait.as_nanos() as u64;
                }
            }
            let part = SECOND / 256;
            prop_assert!((promised..=promised + part).contains(&at), "{promised} {at}");
        }
    }

    #[test]
    fn small_quotas_are_exact() {
        assert!(matches!(
            SlidingCount::new(&Quota::per_second(4_096)).0,
            History::Log(_)
        ));
        assert!(matches!(
            SlidingCount::new(&Quota::per_second(4_097)).0,
            History::Ring(_)
        ));
    }

    #[test]
    fn the_ring_keeps_over_99_percent_of_its_rate() {
        let ring = Ring::new(10_000, SECOND);
        let started: u64 = (0..60_000u64)
            .map(|ms| {
                (0..20)
                    .filter(|_| ring.take(1, ms * 1_000_000).is_admit())
                    .count() as u64
            })
            .sum();
        assert!(started > 594_000, "{started}");
    }

    #[test]
    fn an_idle_age_is_forgotten_at_once() {
        let ring = Ring::new(10, SECOND);
        assert!(ring.take(10, 5).is_admit());
        // Far enough for the tags of the ring to repeat.
        for now in [1u64 << 40, 1 << 50, 1 << 60] {
            assert!(ring.take(10, now).is_admit());
            assert!(!ring.take(1, now).is_admit());
        }
    }

    #[test]
    fn edges_neither_panic_nor_pass() {
        assert_eq!(
            SlidingCount::new(&Quota::per_second(0)).take(1, 3),
            Decision::Never
        );
        assert_eq!(
            SlidingCount::new(&Quota::per_second(9)).take(10, 3),
            Decision::Never
        );
        for quota in [
            Quota::new(u64::MAX, Duration::MAX),
            Quota::new(u64::MAX, Duration::ZERO),
            Quota::new(1, Duration::MAX),
            Quota::new(4_096, Duration::ZERO),
        ] {
            let window = SlidingCount::new(&quota);
            for now in [0, 1, u64::MAX / 2, u64::MAX - 1, u64::MAX] {
                let _ = window.take(1, now);
                let _ = window.take(window.capacity(), now);
                let _ = window.take(u64::MAX, now);
                let _ = window.wait(u64::MAX, now);
            }
        }
    }
}
