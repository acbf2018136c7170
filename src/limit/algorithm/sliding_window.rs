//! Sliding window: no period, at any offset, has more starts than the quota's units.
//!
//! The [`Log`] keeps the start of each unit and is exact. The [`Ring`] keeps sums over short parts
//! of the period: it counts a unit for up to one part too long, never too short, and its memory
//! does not grow with the quota.

use super::{
    sliding_log::Log,
    sliding_ring::{Ring, Sum},
};
use crate::{
    limit::{
        algorithm::{
            Algorithm, Mark,
            window::{Period, RefundableWindow},
        },
        decision::Decision,
        quota::Quota,
    },
    sync::{Mutex, unpoisoned},
};

/// The largest quota with a place for each unit: 32 KiB at most.
const LARGEST_LOG: u64 = 4_096;

/// A sliding window.
///
/// Requests take from the history without a lock. A change of the quota seals that, moves its
/// starts into a [`ChangedWindow`], and requests take from this behind a lock from then on: a
/// history can't change its size, and can't be replaced without a lock or `unsafe` code.
#[derive(Debug)]
pub struct SlidingCount {
    history: History,
    /// Also locked while something is given back.
    changed: Mutex<Option<ChangedWindow>>,
}

#[derive(Debug)]
enum History {
    Log(Log),
    Ring(Ring),
}

/// Calls the same method of either history.
macro_rules! either {
    ($history:expr, $one:ident => $call:expr) => {
        match $history {
            History::Log($one) => $call,
            History::Ring($one) => $call,
        }
    };
}

/// A window whose quota was changed.
#[derive(Debug)]
struct ChangedWindow {
    starts: RefundableWindow,
    period: Period,
    capacity: u64,
}

// ===== impl SlidingCount =====

impl SlidingCount {
    pub(crate) fn new(quota: &Quota) -> Self {
        let (units, period) = (quota.units(), quota.period_nanos());
        let history = match units <= LARGEST_LOG {
            true => History::Log(Log::new(units, period)),
            false => History::Ring(Ring::new(units, period)),
        };
        let changed = Mutex::new(None);
        Self { history, changed }
    }

    /// Calls `look` with the window, if the quota was ever changed.
    #[cold]
    fn changed<T>(&self, look: impl FnOnce(&mut ChangedWindow) -> T) -> Option<T> {
        if !either!(&self.history, history => history.is_sealed()) {
            return None;
        }
        // The thread that has sealed the history holds the lock until there is a window.
        unpoisoned(self.changed.lock()).as_mut().map(look)
    }
}

impl Algorithm for SlidingCount {
    fn capacity(&self) -> u64 {
        let changed = self.changed(|window| window.capacity);
        changed.unwrap_or_else(|| either!(&self.history, history => history.capacity()))
    }

    fn used(&self, now: u64) -> u64 {
        let changed = self.changed(|window| window.used(now));
        changed.unwrap_or_else(|| either!(&self.history, history => history.used(now)))
    }

    #[inline]
    fn take(&self, cost: u64, now: u64) -> Result<Mark, Decision> {
        let taken = either!(&self.history, history => match history.capacity() {
            capacity if cost > capacity => Err(Decision::Never),
            _ => history.take(cost, now),
        });
        taken.or_else(|decision| {
            let changed = self.changed(|window| window.take(cost, now));
            changed.unwrap_or(Err(decision))
        })
    }

    fn give_back(&self, mark: &Mark, _: u64) {
        match &mut *unpoisoned(self.changed.lock()) {
            Some(window) => window.starts.give_back(mark.place, mark.cost),
            None => either!(&self.history, history => history.give_back(mark)),
        }
    }

    fn set_quota(&self, quota: &Quota, now: u64) {
        let mut changed = unpoisoned(self.changed.lock());
        let mut window = ChangedWindow::new(quota);
        match changed.take() {
            Some(before) => window.starts = before.starts,
            None => {
                let keep = |at, units| window.starts.take(at, units);
                either!(&self.history, history => history.seal(now, keep));
            }
        }
        *changed = Some(window);
    }

    fn wait(&self, units: u64, now: u64) -> u64 {
        let changed = self.changed(|window| window.wait(units, now));
        changed.unwrap_or_else(|| either!(&self.history, history => history.wait(units, now)))
    }

    fn due_in(&self, cost: u64, now: u64) -> u64 {
        match &self.history {
            History::Log(log) if !log.is_sealed() => log.due_in(cost, now),
            _ => self.wait(cost, now),
        }
    }
}

// ===== impl ChangedWindow =====

impl ChangedWindow {
    fn new(quota: &Quota) -> Self {
        let units = quota.units();
        Self {
            starts: RefundableWindow::default(),
            period: Period::of(quota.period_nanos(), units <= LARGEST_LOG),
            capacity: units.min(Sum::LARGEST),
        }
    }

    fn take(&mut self, cost: u64, now: u64) -> Result<Mark, Decision> {
        if cost > self.capacity {
            return Err(Decision::Never);
        }
        match self.wait(cost, now) {
            0 => {
                let at = self.starts.start(&self.period, now);
                self.starts.take(at, cost);
                Ok(Mark::new(cost, at, now))
            }
            wait => Err(Decision::after(wait)),
        }
    }

    fn used(&mut self, now: u64) -> u64 {
        self.starts.advance(self.period.nanos, now);
        self.starts.used()
    }

    fn wait(&mut self, units: u64, now: u64) -> u64 {
        self.starts.advance(self.period.nanos, now);
        self.starts.wait(self.capacity, &self.period, units, now)
    }
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::limit::sliding_window::SlidingWindowLimiter;

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
                prop_assert_eq!(decision.is_ok(), model.fits(cost, now));
            }
            match decision {
                Ok(_) => {
                    prop_assert_eq!(promised, 0);
                    model.starts.push((now, cost));
                }
                Err(Decision::Wait(wait)) => {
                    let wait = wait.as_nanos() as u64;
                    prop_assert_eq!(promised, wait);
                    let again = |at| match memory {
                        History::Log(log) => log.take(cost, at),
                        History::Ring(ring) => ring.take(cost, at),
                    };
                    prop_assert!(again(now + wait - 1).is_err());
                    now += wait;
                    prop_assert!(again(now).is_ok());
                    model.starts.push((now, cost));
                }
                Err(_) => prop_assert!(false, "{cost} fits into {units}"),
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
            prop_assert!(ring.take(units, start).is_ok());
            prop_assert!(ring.take(1, start + SECOND - 1).is_err());
            prop_assert!(ring.take(1, start + SECOND + SECOND / 256 + 1).is_ok());
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
                while let Err(Decision::Wait(wait)) = log.take(1, at) {
                    at += wait.as_nanos() as u64;
                }
            }
            prop_assert_eq!(at, promised);
        }
    }

    /// It looks at the place of the last unit, and a request at the places of all its units.
    #[test]
    fn log_wait_looks_at_one_place() {
        let log = Log::new(3, SECOND);
        let marks = [0, 10, 20].map(|now| log.take(1, now).unwrap());
        log.give_back(&marks[1]);
        assert_eq!((log.wait(2, 20), log.due_in(2, 20)), (0, SECOND - 20));
        assert_eq!((log.wait(3, 20), log.due_in(3, 20)), (SECOND, SECOND));
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
                while let Err(Decision::Wait(wait)) = ring.take(1, at) {
                    at += wait.as_nanos() as u64;
                }
            }
            let part = SECOND / 256;
            prop_assert!((promised..=promised + part).contains(&at), "{promised} {at}");
        }
    }

    proptest! {
        #[test]
        fn refunds_keep_every_period_within_the_quota(
            units in prop_oneof![1..40u64, 4_097..4_100u64],
            steps in prop::collection::vec(
                (1..12u64, 0..SECOND / 4, prop::option::of(0..8usize)), 1..100
            ),
        ) {
            let window = SlidingCount::new(&Quota::per_second(units));
            let share = if units < 40 { 1 } else { units / 40 };
            let (mut now, mut starts) = (0, Vec::new());
            for (cost, pause, refunded) in steps {
                now += pause & !1;
                if let Ok(mark) = window.take((cost * share).min(units), now) {
                    starts.push((now, mark));
                }
                if let Some(back) = refunded.filter(|back| *back < starts.len()) {
                    let (_, mark) = starts.remove(starts.len() - 1 - back);
                    window.give_back(&mark, now);
                }
            }
            let starts = starts.into_iter().map(|(at, mark)| (at, mark.cost)).collect();
            let model = Model { units, period: SECOND, starts };
            prop_assert!(model.fullest() <= units, "{} of {units}", model.fullest());
        }
    }

    #[test]
    fn the_newest_units_are_returned_at_once() {
        for units in [8, 5_000] {
            let window = SlidingCount::new(&Quota::per_second(units));
            // Also in a second lap.
            for now in [0, SECOND * 3 / 2, 3 * SECOND] {
                let mark = window.take(units, now).unwrap();
                assert!(window.take(1, now).is_err());
                window.give_back(&mark, now);
                assert!(window.take(units, now).is_ok());
            }
        }
    }

    #[test]
    fn returned_units_are_available_after_older_ones() {
        // From the start on, and in a later lap.
        for start in [0, 3 * SECOND] {
            let log = SlidingCount::new(&Quota::per_second(3));
            let _ = log.take(3, start).unwrap();
            let start = start + SECOND;
            let oldest = log.take(1, start).unwrap();
            let older = log.take(1, start).unwrap();
            let newer = log.take(1, start + SECOND / 2).unwrap();
            log.give_back(&older, start + SECOND / 2);
            assert!(log.take(1, start + SECOND / 2).is_err());
            log.give_back(&oldest, start + SECOND / 2);
            assert!(log.take(2, start + SECOND / 2).is_ok());
            assert!(log.take(1, start + SECOND / 2).is_err());
            log.give_back(&newer, start + SECOND);
            assert!(log.take(1, start + SECOND).is_ok());
        }
    }

    #[test]
    fn a_refund_counts_in_the_first_period() {
        let log = SlidingCount::new(&Quota::per_second(2));
        let older = log.take(1, 0).unwrap();
        let newer = log.take(1, SECOND / 2).unwrap();
        log.give_back(&older, SECOND / 2);
        assert!(log.take(1, SECOND / 2).is_ok());
        assert!(log.take(1, SECOND).is_err());
        log.give_back(&newer, SECOND);
        assert!(log.take(1, SECOND).is_ok());
        // And after a change of the quota.
        let log = SlidingCount::new(&Quota::per_second(2));
        let older = log.take(1, 0).unwrap();
        assert!(log.take(1, 0).is_ok());
        log.give_back(&older, 0);
        log.set_quota(&Quota::per_second(3), 0);
        assert!(log.take(2, 0).is_ok());
        assert!(log.take(1, 0).is_err());
    }

    #[test]
    fn used_units_stay_used_after_a_change() {
        for (before, after) in [(10, 20), (10, 5_000), (5_000, 6_000)] {
            let window = SlidingCount::new(&Quota::per_second(before));
            assert!(window.take(before, 2 * SECOND).is_ok());
            let now = 2 * SECOND + SECOND / 2;
            window.set_quota(&Quota::per_second(after), now);
            assert_eq!(window.capacity(), after);
            assert!(window.take(after - before, now).is_ok());
            assert!(window.take(1, now).is_err());
            assert!(window.take(1, now + SECOND / 4).is_err());
            let start = 3 * SECOND + SECOND / 128;
            assert!(window.take(before, start).is_ok());
            assert!(window.take(1, start).is_err());
            window.set_quota(&Quota::per_second(0), start);
            assert_eq!(window.take(1, start), Err(Decision::Never));
            window.set_quota(&Quota::UNLIMITED, start + 1);
            assert!(window.take(1 << 39, start + 1).is_ok());
        }
    }

    #[test]
    fn alternating_quotas_create_no_units() {
        for (large, small) in [(1_000, 10), (9_000, 10)] {
            let window = SlidingCount::new(&Quota::per_hour(large));
            let mut sum = 0;
            for request in 0..large * 10 {
                let units = if request % 2 == 0 { small } else { large };
                window.set_quota(&Quota::per_hour(units), 7);
                sum += u64::from(window.take(1, 7).is_ok());
            }
            assert_eq!(sum, large);
        }
    }

    #[test]
    fn a_refund_after_a_change_returns_newer_units() {
        let limiter = SlidingWindowLimiter::new(Quota::per_hour(8));
        let old = limiter.try_acquire(8).unwrap();
        limiter.set_quota(Quota::per_hour(10));
        old.refund();
        let new = limiter.try_acquire(2).unwrap();
        assert!(limiter.try_acquire(1).is_err());
        new.refund();
        assert!(limiter.try_acquire(2).is_ok());
        assert!(limiter.try_acquire(1).is_err());
    }

    #[test]
    fn small_quotas_are_exact() {
        assert!(matches!(
            SlidingCount::new(&Quota::per_second(4_096)).history,
            History::Log(_)
        ));
        assert!(matches!(
            SlidingCount::new(&Quota::per_second(4_097)).history,
            History::Ring(_)
        ));
    }

    #[test]
    fn the_ring_keeps_over_99_percent_of_its_rate() {
        let ring = Ring::new(10_000, SECOND);
        let started: u64 = (0..60_000u64)
            .map(|ms| {
                (0..20)
                    .filter(|_| ring.take(1, ms * 1_000_000).is_ok())
                    .count() as u64
            })
            .sum();
        assert!(started > 594_000, "{started}");
    }

    #[test]
    fn an_idle_age_is_forgotten_at_once() {
        let ring = Ring::new(10, SECOND);
        assert!(ring.take(10, 5).is_ok());
        // Far enough for the tags of the ring to repeat.
        for now in [1u64 << 40, 1 << 50, 1 << 60] {
            assert!(ring.take(10, now).is_ok());
            assert!(ring.take(1, now).is_err());
        }
    }

    #[test]
    fn edges_neither_panic_nor_pass() {
        assert_eq!(
            SlidingCount::new(&Quota::per_second(0)).take(1, 3),
            Err(Decision::Never)
        );
        assert_eq!(
            SlidingCount::new(&Quota::per_second(9)).take(10, 3),
            Err(Decision::Never)
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

#[cfg(all(test, throttle_loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn loom_a_change_loses_no_start() {
        crate::sync::model(|| {
            let window = Arc::new(SlidingCount::new(&Quota::per_second(2)));
            let other = Arc::clone(&window);
            let taker = thread::spawn(move || usize::from(other.take(1, 5).is_ok()));
            window.set_quota(&Quota::per_second(3), 5);
            let mine = (0..4).filter(|_| window.take(1, 5).is_ok()).count();
            assert_eq!(mine + taker.join().unwrap(), 3);
        });
    }
}
