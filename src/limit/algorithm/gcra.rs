//! Token bucket as one number: the generic cell rate algorithm.
//!
//! The number is the *theoretical arrival time*: the instant at which the bucket will be full
//! again. Taking a unit moves it by `period / units`. A unit may be taken while the instant is at
//! most the refill time of a whole burst away.

use std::{sync::PoisonError, time::Duration};

use crate::{
    limit::{
        algorithm::{Algorithm, Before, Mark},
        clock::TIMER_LATENESS,
        decision::Decision,
        quota::{Quota, nanos},
    },
    sync::{AtomicU64, Mutex, Ordering},
};

/// Half of the range, so that adding a burst to an instant can't overflow.
const LONGEST_BURST: u64 = u64::MAX / 2;

/// The refill of a bucket, without the state that it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refill {
    capacity: u64,
    /// The refill time of a unit, rounded up so that rounding admits no more.
    unit_nanos: u64,
}

#[derive(Debug)]
pub struct Gcra {
    full_at: AtomicU64,
    refill: Refill,
    /// The nanoseconds that were given back since the start.
    given: AtomicU64,
    /// Locked while something is given back.
    changes: Mutex<()>,
}

// ===== impl Refill =====

impl Refill {
    pub(crate) fn new(quota: &Quota) -> Self {
        let unit_nanos = quota.period_nanos().div_ceil(quota.units().max(1));
        let unit_nanos = unit_nanos.min(LONGEST_BURST);
        Self {
            capacity: quota.burst_size().min(LONGEST_BURST / unit_nanos),
            unit_nanos,
        }
    }

    pub(crate) fn capacity(&self) -> u64 {
        self.capacity
    }

    #[cfg(feature = "per-key")]
    pub(crate) fn unit_nanos(&self) -> u64 {
        self.unit_nanos
    }

    /// Returns the refill time of a whole burst.
    pub(crate) fn burst_nanos(&self) -> u64 {
        self.capacity * self.unit_nanos
    }

    /// Returns the time until `cost` units can be taken at `now`. For the rest see
    /// [`after`](Self::after).
    #[inline]
    pub(crate) fn wait(&self, full_at: u64, start: u64, cost: u64, now: u64) -> u64 {
        let latest = now.saturating_add(self.burst_nanos());
        self.after(full_at, start, cost).saturating_sub(latest)
    }

    /// Returns when the bucket is full after `cost` units are taken, if it would be full at
    /// `full_at`, or has been full since `start`.
    #[inline]
    pub(crate) fn after(&self, full_at: u64, start: u64, cost: u64) -> u64 {
        let taken = cost.saturating_mul(self.unit_nanos);
        full_at.max(start).saturating_add(taken)
    }
}

// ===== impl Gcra =====

impl Gcra {
    pub(crate) fn new(quota: &Quota) -> Self {
        Self {
            full_at: AtomicU64::new(0),
            refill: Refill::new(quota),
            given: AtomicU64::new(0),
            changes: Mutex::new(()),
        }
    }

    #[inline]
    fn take_counted_from(&self, start: u64, cost: u64, now: u64) -> Result<Mark, Decision> {
        if cost > self.refill.capacity {
            return Err(Decision::Never);
        }
        let latest = now.saturating_add(self.refill.burst_nanos());
        // Relaxed: an independent number.
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = self.refill.after(full_at, start, cost);
            if next > latest {
                return Err(Decision::Wait(Duration::from_nanos(next - latest)));
            }
            match self.full_at.compare_exchange_weak(
                full_at,
                next,
                Ordering::Relaxed,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    return Ok(Mark {
                        cost,
                        place: next,
                        at: self.refill.after(0, start, cost),
                        before: Before::default(),
                    });
                }
                Err(other) => full_at = other,
            }
        }
    }
}

impl Algorithm for Gcra {
    fn capacity(&self) -> u64 {
        self.refill.capacity()
    }

    #[inline]
    fn take(&self, cost: u64, now: u64) -> Result<Mark, Decision> {
        self.take_counted_from(now, cost, now)
    }

    /// The refill since the queue could have moved on belongs to the queue.
    fn take_in_turn(&self, cost: u64, now: u64) -> Result<Mark, Decision> {
        self.take_counted_from(now.saturating_sub(nanos(TIMER_LATENESS)), cost, now)
    }

    fn before(&self) -> Before {
        // Acquire: pairs with the store in `give_back`, so what it counts is in `full_at`, too.
        let given = self.given.load(Ordering::Acquire);
        Before { given }
    }

    /// What was taken first refills first, and earlier by all that was given back since, which may
    /// have been taken before it. So nothing is given back twice, or after it has refilled.
    fn give_back(&self, mark: &Mark, now: u64) {
        let _changes = self.changes.lock().unwrap_or_else(PoisonError::into_inner);
        let given = self.given.load(Ordering::Relaxed);
        let earlier = given.saturating_sub(mark.before.given);
        let refilled_at = mark.place.saturating_sub(earlier).max(mark.at);
        let missing = refilled_at.saturating_sub(now);
        let back = mark
            .cost
            .saturating_mul(self.refill.unit_nanos)
            .min(missing);
        // After 584 years' worth nothing more is given back.
        let Some(given) = given.checked_add(back) else {
            return;
        };
        self.full_at.fetch_sub(back, Ordering::Relaxed);
        self.given.store(given, Ordering::Release);
    }

    fn wait(&self, units: u64, now: u64) -> u64 {
        let full_at = self.full_at.load(Ordering::Relaxed);
        self.refill.wait(full_at, now, units, now)
    }
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn admitted(bucket: &Gcra, now: u64) -> u64 {
        std::iter::from_fn(|| bucket.take(1, now).is_ok().then_some(())).count() as u64
    }

    #[test]
    fn burst_then_one_unit_per_interval() {
        let bucket = Gcra::new(&Quota::per_second(60));
        assert_eq!(admitted(&bucket, 0), 60);
        assert_eq!(admitted(&bucket, 16_666_666), 0);
        assert_eq!(admitted(&bucket, 16_666_667), 1);
        assert_eq!(admitted(&bucket, 3_600 * SECOND), 60);
    }

    #[test]
    fn more_than_the_burst_never_fits() {
        let bucket = Gcra::new(&Quota::per_second(10).burst(3));
        assert_eq!(bucket.take(4, 0), Err(Decision::Never));
        assert!(bucket.take(3, 0).is_ok());
        assert_eq!(
            bucket.take(3, 0),
            Err(Decision::Wait(Duration::from_millis(300)))
        );
    }

    #[test]
    fn only_the_queue_makes_up_for_lateness() {
        let quota = Quota::per_second(2_000).burst(1);
        let (queue, strangers) = (Gcra::new(&quota), Gcra::new(&quota));
        // Woken each millisecond, for a queue with one request per half a millisecond.
        let (mut in_turn, mut fresh) = (0, 0);
        for now in (1..=1_000).map(|tick| tick * 1_000_000) {
            while queue.take_in_turn(1, now).is_ok() {
                in_turn += 1;
            }
            fresh += admitted(&strangers, now);
        }
        assert!((1_990..=2_010).contains(&in_turn), "{in_turn}");
        assert_eq!(fresh, 1_000);
    }

    #[test]
    fn a_stall_admits_at_most_the_stated_lateness() {
        let bucket = Gcra::new(&Quota::per_second(1_000).burst(1));
        assert!(bucket.take(1, 0).is_ok());
        let burst = std::iter::from_fn(|| bucket.take_in_turn(1, 5 * SECOND).is_ok().then_some(()));
        assert_eq!(burst.count(), 11);
    }

    #[test]
    fn edges_neither_panic_nor_pass() {
        for quota in [
            Quota::per_second(0),
            Quota::per_second(5).burst(0),
            Quota::new(0, Duration::ZERO),
        ] {
            assert_eq!(Gcra::new(&quota).take(1, 7), Err(Decision::Never));
        }
        for quota in [
            Quota::new(u64::MAX, Duration::MAX).burst(u64::MAX),
            Quota::new(1, Duration::MAX).burst(u64::MAX),
            Quota::new(u64::MAX, Duration::ZERO).burst(u64::MAX),
        ] {
            let bucket = Gcra::new(&quota);
            for now in [0, 1, u64::MAX / 2, u64::MAX] {
                let _ = bucket.take(u64::MAX, now);
                let _ = bucket.take(1, now);
                let _ = bucket.wait(u64::MAX, now);
            }
        }
    }

    #[test]
    fn a_refund_returns_all_that_is_missing() {
        let bucket = Gcra::new(&Quota::per_second(10));
        let before = bucket.before();
        let mark = bucket.take(10, 0).unwrap();
        bucket.give_back(&Mark { before, ..mark }, 0);
        assert_eq!(admitted(&bucket, 0), 10);
        // Half of it has refilled, and the other half is given back.
        let before = bucket.before();
        let mark = bucket.take(10, SECOND).unwrap();
        bucket.give_back(&Mark { before, ..mark }, SECOND + SECOND / 2);
        assert_eq!(admitted(&bucket, SECOND + SECOND / 2), 10);
    }

    #[test]
    fn a_refund_returns_nothing_that_has_refilled() {
        let bucket = Gcra::new(&Quota::per_second(10));
        let mark = bucket.take(5, 0).unwrap();
        assert_eq!(admitted(&bucket, SECOND), 10);
        bucket.give_back(&mark, SECOND);
        assert_eq!(admitted(&bucket, SECOND), 0);
    }

    proptest! {
        /// Against a bucket that was never asked by those who gave back.
        #[test]
        fn refunds_keep_the_bound_of_every_interval(
            units in 1..1_000u64,
            burst in 1..50u64,
            steps in prop::collection::vec(
                (1..20u64, 0..50_000_000u64, prop::option::of(0..8usize)), 1..200
            ),
        ) {
            let bucket = Gcra::new(&Quota::per_second(units).burst(burst));
            let (mut now, mut starts) = (0, Vec::new());
            for (cost, pause, refunded) in steps {
                now += pause;
                let before = bucket.before();
                if let Ok(mark) = bucket.take(cost, now) {
                    starts.push((now, Mark { before, ..mark }));
                }
                if let Some(back) = refunded.filter(|back| *back < starts.len()) {
                    let (_, mark) = starts.remove(starts.len() - 1 - back);
                    bucket.give_back(&mark, now);
                }
            }
            for (first, &(from, _)) in starts.iter().enumerate() {
                let mut sum = 0;
                for (to, mark) in &starts[first..] {
                    sum += u128::from(mark.cost);
                    let refilled = u128::from(to - from) * u128::from(units);
                    let full = u128::from(burst) * u128::from(SECOND);
                    prop_assert!(sum * u128::from(SECOND) <= full + refilled);
                }
            }
        }

        #[test]
        fn the_promised_wait_is_exact(
            units in 1..10_000u64,
            period in 1_000..100 * SECOND,
            burst in 1..100u64,
            steps in prop::collection::vec((1..100u64, 0..SECOND), 1..50),
        ) {
            let bucket = Gcra::new(&Quota::new(units, Duration::from_nanos(period)).burst(burst));
            let mut now = 0;
            for (cost, pause) in steps {
                now += pause;
                let promised = bucket.wait(cost, now);
                match bucket.take(cost, now) {
                    Ok(_) => prop_assert_eq!(promised, 0),
                    Err(Decision::Wait(wait)) => {
                        let wait = wait.as_nanos() as u64;
                        prop_assert_eq!(promised, wait);
                        prop_assert!(!bucket.take(cost, now + wait - 1).is_ok());
                        prop_assert!(bucket.take(cost, now + wait).is_ok());
                        now += wait;
                    }
                    Err(_) => prop_assert!(cost > burst),
                }
            }
        }

        #[test]
        fn burst_and_refill_bound_every_interval(
            units in 1..1_000u64,
            burst in 1..50u64,
            steps in prop::collection::vec((1..20u64, 0..200_000_000u64), 1..200),
        ) {
            let bucket = Gcra::new(&Quota::per_second(units).burst(burst));
            let mut now = 0;
            let mut starts: Vec<(u64, u64)> = Vec::new();
            for (cost, pause) in steps {
                now += pause;
                if bucket.take(cost, now).is_ok() {
                    starts.push((now, cost));
                }
            }
            for (first, &(from, _)) in starts.iter().enumerate() {
                let mut sum = 0;
                for &(to, cost) in &starts[first..] {
                    sum += u128::from(cost);
                    let refilled = u128::from(to - from) * u128::from(units);
                    let full = u128::from(burst) * u128::from(SECOND);
                    prop_assert!(sum * u128::from(SECOND) <= full + refilled);
                }
            }
        }
    }
}

#[cfg(all(test, throttle_loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn loom_two_takers_never_share_a_unit() {
        crate::sync::model(|| {
            let bucket = Arc::new(Gcra::new(&Quota::per_second(1).burst(3)));
            let other = Arc::clone(&bucket);
            let taker = thread::spawn(move || u64::from(other.take(2, 5).is_ok()));
            let mine = u64::from(bucket.take(2, 0).is_ok());
            assert_eq!(mine + taker.join().unwrap(), 1);
        });
    }

    #[test]
    fn loom_a_racing_refund_returns_no_more_than_was_taken() {
        crate::sync::model(|| {
            let bucket = Arc::new(Gcra::new(&Quota::per_second(1).burst(3)));
            let mark = bucket.take(2, 0).unwrap();
            let other = Arc::clone(&bucket);
            let giver = thread::spawn(move || other.give_back(&mark, 0));
            let before = bucket.before();
            let taken = bucket.take(1, 0).unwrap();
            bucket.give_back(&Mark { before, ..taken }, 0);
            giver.join().unwrap();
            let left = (0..4).filter(|_| bucket.take(1, 0).is_ok()).count();
            assert_eq!(left, 3);
        });
    }
}
