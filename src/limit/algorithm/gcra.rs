//! Token bucket as one number: the generic cell rate algorithm.
//!
//! The number is the *theoretical arrival time*: the instant at which the bucket will be full
//! again. Taking a unit moves it by `period / units`. A unit may be taken while the instant is at
//! most the refill time of a whole burst away.

use std::time::Duration;

use crate::{
    limit::{
        algorithm::{Algorithm, Mark, moved_on, steady},
        clock::TIMER_LATENESS,
        decision::Decision,
        quota::{Quota, nanos},
    },
    sync::{AtomicU64, Mutex, Ordering, unpoisoned},
};

/// A quarter of the range: an instant plus a burst leaves the highest bit free. The bucket of an
/// unlimited quota has as many units.
const LONGEST_BURST: u64 = u64::MAX / 4;

/// The bit of the number that says which refill applies.
const SECOND_REFILL: u64 = 1 << 63;

const LAST_INSTANT: u64 = SECOND_REFILL - 1;

/// The refill of a bucket, without the state that it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Refill {
    pub(crate) capacity: u64,
    /// The refill time of a unit, rounded up so that rounding admits no more.
    pub(crate) unit_nanos: u64,
}

#[derive(Debug, Default)]
pub struct Gcra {
    /// The instant at which the bucket will be full, and in the highest bit which refill applies:
    /// so one exchange changes both, and fails if a request took units meanwhile.
    full_at: AtomicU64,
    /// The refill that applies, and the one before it, which the next quota replaces.
    refills: [SharedRefill; 2],
    /// The nanoseconds that were given back since the start.
    given: AtomicU64,
    /// The refill time of the used units that did not fit into a smaller quota. It passes once the
    /// bucket is full, and the rest counts again if the quota is larger, so that no units come from
    /// changes of the quota.
    ///
    /// Locked while something is given back or the quota is changed. Requests that take do not
    /// lock.
    excess: Mutex<u64>,
}

/// A [`Refill`] in atomic numbers.
#[derive(Debug, Default)]
struct SharedRefill {
    capacity: AtomicU64,
    unit_nanos: AtomicU64,
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

    /// Returns the refill time of a whole burst.
    pub(crate) fn burst_nanos(&self) -> u64 {
        self.capacity * self.unit_nanos
    }

    /// Returns the instant from which on a full bucket refills what is taken at `now`. The refill
    /// since the queue could have moved on belongs to the head of the queue.
    #[inline]
    pub(crate) fn start(now: u64, is_in_turn: bool) -> u64 {
        match is_in_turn {
            true => now.saturating_sub(nanos(TIMER_LATENESS)),
            false => now,
        }
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

    /// Returns the refill time of the units that take `nanos` to refill at one per `unit_nanos`,
    /// rounded up.
    pub(crate) fn convert(&self, nanos: u64, unit_nanos: u64) -> u64 {
        let nanos = u128::from(nanos) * u128::from(self.unit_nanos);
        u64::try_from(nanos.div_ceil(unit_nanos.into())).unwrap_or(u64::MAX)
    }
}

// ===== impl Gcra =====

impl Gcra {
    pub(crate) fn new(quota: &Quota) -> Self {
        let bucket = Self::default();
        bucket.refills[0].store(Refill::new(quota));
        bucket
    }

    #[inline]
    fn take_counted_from(&self, start: u64, cost: u64, now: u64) -> Result<Mark, Decision> {
        // Acquire: pairs with the store in `give_back`, so `full_at` includes what this counts.
        let given = self.given.load(Ordering::Acquire);
        // Acquire: pairs with the exchange in `set_quota`.
        let mut word = self.full_at.load(Ordering::Acquire);
        loop {
            let (full_at, refill) = self.read(word);
            let latest = now.saturating_add(refill.burst_nanos()).min(LAST_INSTANT);
            let next = refill.after(full_at, start, cost);
            if cost > refill.capacity || next > latest {
                match moved_on(&self.full_at, word) {
                    Some(other) => word = other,
                    None if cost > refill.capacity => return Err(Decision::Never),
                    None => return Err(Decision::Wait(Duration::from_nanos(next - latest))),
                }
                continue;
            }
            // Relaxed: an independent number, and an exchange keeps the order of earlier ones.
            match self.full_at.compare_exchange_weak(
                word,
                next | word & SECOND_REFILL,
                Ordering::Relaxed,
                Ordering::Acquire,
            ) {
                Ok(_) => {
                    return Ok(Mark {
                        cost,
                        place: next,
                        at: refill.after(0, start, cost),
                        given,
                    });
                }
                Err(other) => word = other,
            }
        }
    }

    /// Returns the instant in `word`, and the refill that applies.
    ///
    /// If the quota is changed twice meanwhile, that may be another refill; then the number is no
    /// longer `word`.
    #[inline]
    fn read(&self, word: u64) -> (u64, Refill) {
        let refill = &self.refills[usize::from(word & SECOND_REFILL != 0)];
        (word & LAST_INSTANT, refill.load())
    }
}

impl Algorithm for Gcra {
    fn capacity(&self) -> u64 {
        steady(&self.full_at, |word| self.read(word).1.capacity)
    }

    fn used(&self, now: u64) -> u64 {
        steady(&self.full_at, |word| {
            let (full_at, refill) = self.read(word);
            full_at.saturating_sub(now).div_ceil(refill.unit_nanos)
        })
    }

    #[inline]
    fn take(&self, cost: u64, now: u64) -> Result<Mark, Decision> {
        self.take_counted_from(now, cost, now)
    }

    fn take_in_turn(&self, cost: u64, now: u64) -> Result<Mark, Decision> {
        self.take_counted_from(Refill::start(now, true), cost, now)
    }

    fn give_back(&self, mark: &Mark, now: u64) {
        let _excess = unpoisoned(self.excess.lock());
        // Relaxed: only changed under the lock.
        let (_, refill) = self.read(self.full_at.load(Ordering::Relaxed));
        let given = self.given.load(Ordering::Relaxed);
        let missing = mark.missing(given, now);
        let back = mark.cost.saturating_mul(refill.unit_nanos).min(missing);
        // After 584 years' worth nothing more is given back.
        let Some(given) = given.checked_add(back) else {
            return;
        };
        let less = |word: u64| Some(word.saturating_sub(back).max(word & SECOND_REFILL));
        let _ = self
            .full_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, less);
        self.given.store(given, Ordering::Release);
    }

    fn set_quota(&self, quota: &Quota, now: u64) {
        let refill = Refill::new(quota);
        let mut excess = unpoisoned(self.excess.lock());
        // Relaxed: which refill applies is only changed under the lock.
        let other = !self.full_at.load(Ordering::Relaxed) & SECOND_REFILL;
        self.refills[usize::from(other != 0)].store(refill);
        let old_excess = *excess;
        let change = |word| {
            let (full_at, before) = self.read(word);
            let convert = |nanos| refill.convert(nanos, before.unit_nanos);
            let left = old_excess.saturating_sub(now.saturating_sub(full_at));
            let used = full_at.saturating_sub(now).saturating_add(left);
            // If nothing was left over before, the bucket is empty now. Otherwise it has as much
            // room as before.
            let ceiling = match left {
                0 => used,
                _ => left.saturating_add(before.burst_nanos()),
            };
            let over = convert(ceiling).saturating_sub(refill.burst_nanos());
            let counts = convert(used).saturating_sub(over);
            *excess = convert(used) - counts;
            // Never an earlier instant than now, so that no number comes a second time, unless the
            // quota is changed twice in a nanosecond.
            Some(now.saturating_add(counts).min(LAST_INSTANT) | other)
        };
        // Release: a thread that sees the number sees its refill.
        let (release, relaxed) = (Ordering::Release, Ordering::Relaxed);
        let _ = self.full_at.fetch_update(release, relaxed, change);
    }

    fn wait(&self, units: u64, now: u64) -> u64 {
        steady(&self.full_at, |word| {
            let (full_at, refill) = self.read(word);
            refill.wait(full_at, now, units, now)
        })
    }
}

// ===== impl SharedRefill =====

impl SharedRefill {
    // Acquire and release: a thread that reads a part of a refill that does not apply yet sees that
    // the number has changed since.

    #[inline]
    fn load(&self) -> Refill {
        Refill {
            capacity: self.capacity.load(Ordering::Acquire),
            unit_nanos: self.unit_nanos.load(Ordering::Acquire),
        }
    }

    fn store(&self, refill: Refill) {
        self.capacity.store(refill.capacity, Ordering::Release);
        self.unit_nanos.store(refill.unit_nanos, Ordering::Release);
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
    fn alternating_quotas_create_no_units() {
        let (large, small) = (Quota::per_hour(1_000), Quota::per_hour(10));
        let bucket = Gcra::new(&large);
        let mut sum = 0;
        for request in 0..10_000 {
            bucket.set_quota(if request % 2 == 0 { &small } else { &large }, 7);
            sum += u64::from(bucket.take(1, 7).is_ok());
        }
        assert!((990..=1_010).contains(&sum), "{sum}");
        // An hour later as much again is there.
        bucket.set_quota(&large, 7 + 3_601 * SECOND);
        assert_eq!(admitted(&bucket, 7 + 3_601 * SECOND), 1_000);
    }

    /// Takes one unit of each of these quotas in turn, at each of these seconds.
    fn alternating(quotas: &[Quota], seconds: impl Iterator<Item = u64>) -> usize {
        let bucket = Gcra::new(&quotas[0]);
        let instants = seconds.flat_map(|second| std::iter::repeat_n(second * SECOND, 4_000));
        let takes = instants.zip(quotas.iter().cycle()).map(|(now, quota)| {
            bucket.set_quota(quota, now);
            bucket.take(1, now)
        });
        takes.filter(Result::is_ok).count()
    }

    #[test]
    fn alternating_bursts_and_rates_create_no_units() {
        let (large, small) = (Quota::per_hour(1_000), Quota::per_hour(10));
        let bursts = [large, large.burst(10)];
        let all = [large, small, small.burst(1_000), large.burst(10)];
        for quotas in [&bursts[..], &[large, small], &all] {
            let sum = alternating(quotas, 1..2);
            assert!((990..=1_010).contains(&sum), "{sum} of {quotas:?}");
            // In 100 s the fastest gives 28.
            let sum = alternating(quotas, 1..=101);
            assert!(sum <= 1_000 + 28 + 10, "{sum} of {quotas:?}");
        }
    }

    #[test]
    fn the_same_quota_again_changes_nothing() {
        let bucket = Gcra::new(&Quota::per_hour(1_000));
        assert!(bucket.take(1_000, 0).is_ok());
        for minute in 0..=60 {
            bucket.set_quota(&Quota::per_hour(10), minute * 60 * SECOND);
        }
        assert_eq!(admitted(&bucket, 3_600 * SECOND), 10);
        bucket.set_quota(&Quota::per_hour(1_000), 3_600 * SECOND);
        assert_eq!(admitted(&bucket, 3_600 * SECOND), 0);
    }

    #[test]
    fn used_units_stay_used_after_a_change() {
        let bucket = Gcra::new(&Quota::per_second(10));
        assert!(bucket.take(8, 0).is_ok());
        bucket.set_quota(&Quota::per_minute(20), 0);
        assert_eq!((bucket.capacity(), admitted(&bucket, 0)), (20, 12));
        bucket.set_quota(&Quota::per_second(5), 0);
        assert_eq!(admitted(&bucket, 0), 0);
        assert_eq!(admitted(&bucket, SECOND), 5);
        for quota in [
            Quota::per_second(0),
            Quota::UNLIMITED,
            Quota::new(1, Duration::MAX),
            Quota::new(u64::MAX, Duration::MAX),
        ] {
            bucket.set_quota(&quota, SECOND);
            let _ = bucket.take(1, SECOND);
            let _ = bucket.wait(u64::MAX, u64::MAX);
        }
        bucket.set_quota(&Quota::per_second(0), 2 * SECOND);
        assert_eq!(bucket.take(1, 2 * SECOND), Err(Decision::Never));
        bucket.set_quota(&Quota::UNLIMITED, 2 * SECOND);
        assert!(bucket.take(1 << 40, 2 * SECOND).is_ok());
    }

    #[test]
    fn a_refund_returns_all_that_is_missing() {
        let bucket = Gcra::new(&Quota::per_second(10));
        let mark = bucket.take(10, 0).unwrap();
        bucket.give_back(&mark, 0);
        assert_eq!(admitted(&bucket, 0), 10);
        // Half of it has refilled, and the other half is given back.
        let mark = bucket.take(10, SECOND).unwrap();
        bucket.give_back(&mark, SECOND + SECOND / 2);
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
        /// Refunded units count as never started.
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
                if let Ok(mark) = bucket.take(cost, now) {
                    starts.push((now, mark));
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
                        prop_assert!(bucket.take(cost, now + wait - 1).is_err());
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
    fn loom_a_change_loses_no_units() {
        crate::sync::model(|| {
            let bucket = Arc::new(Gcra::new(&Quota::per_second(1).burst(3)));
            let other = Arc::clone(&bucket);
            let taker = thread::spawn(move || usize::from(other.take(2, 0).is_ok()));
            bucket.set_quota(&Quota::per_minute(1).burst(4), 1);
            bucket.set_quota(&Quota::per_hour(1).burst(3), 2);
            assert_eq!(taker.join().unwrap(), 1);
            let left = (0..4).filter(|_| bucket.take(1, 2).is_ok()).count();
            assert_eq!(left, 1);
        });
    }

    #[test]
    fn loom_a_racing_refund_returns_no_more_than_was_taken() {
        crate::sync::model(|| {
            let bucket = Arc::new(Gcra::new(&Quota::per_second(1).burst(3)));
            let mark = bucket.take(2, 0).unwrap();
            let other = Arc::clone(&bucket);
            let giver = thread::spawn(move || other.give_back(&mark, 0));
            let taken = bucket.take(1, 0).unwrap();
            bucket.give_back(&taken, 0);
            giver.join().unwrap();
            let left = (0..4).filter(|_| bucket.take(1, 0).is_ok()).count();
            assert_eq!(left, 3);
        });
    }
}
