//! Sums over 256 parts of the period: a lock-free sliding window of constant memory.
//!
//! A unit counts from its start until its part has left the period, so for up to one part, 0.4 % of
//! the period, longer than the period, and never shorter.

use crate::{
    limit::{algorithm::Mark, decision::Decision},
    sync::{AtomicU64, Ordering},
};

const PARTS: u64 = if cfg!(throttle_loom) { 2 } else { 256 };

/// The number of parts that a period overlaps: one more, because it seldom starts with a part.
const PLACES: u64 = PARTS + 1;

/// A bit of [`Ring::held`] after which nothing is taken.
const SEALED: u64 = 1 << 63;

#[derive(Debug)]
pub(super) struct Ring {
    /// The units that count now, and [`SEALED`]. A unit is added here before it is added to its
    /// part, and is removed from its part before it is removed here, so this is at least what
    /// started within the period.
    held: AtomicU64,
    /// The newest part that has a place.
    newest: AtomicU64,
    /// The sum of each part, with the part's number; see [`Sum`].
    places: Box<[AtomicU64]>,
    capacity: u64,
    part_nanos: u64,
}

/// The content of a place: the low 24 bits of a part's number, and in 40 bits the units that
/// started in that part.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Sum(u64);

// ===== impl Ring =====

impl Ring {
    pub(super) fn new(units: u64, period: u64) -> Self {
        Self {
            held: AtomicU64::new(0),
            // Time starts in part `PLACES`, so that every place had a part before.
            newest: AtomicU64::new(PLACES),
            places: (0..PLACES)
                .map(|place| if place == 0 { PLACES } else { place })
                .map(|part| AtomicU64::new(Sum::empty(part).0))
                .collect(),
            capacity: units.min(Sum::LARGEST),
            part_nanos: period.div_ceil(PARTS),
        }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.capacity
    }

    pub(super) fn take(&self, cost: u64, now: u64) -> Result<Mark, Decision> {
        let part = self.advance(now);
        // Relaxed: `held` is only ever too high, whatever is seen of the places.
        let relaxed = Ordering::Relaxed;
        // Sealed, it is more than the capacity.
        let more = |held| (held + cost <= self.capacity).then_some(held + cost);
        if self.held.fetch_update(relaxed, relaxed, more).is_err() {
            // At least 1: another thread may have made room since.
            return Err(Decision::after(self.wait(cost, now).max(1)));
        }
        // If the place now belongs to a later part, the units count until that part has left: too
        // long, never too short. Relaxed: see above.
        self.place(part).fetch_add(cost, Ordering::Relaxed);
        Ok(Mark::new(cost, part, now))
    }

    pub(super) fn used(&self, now: u64) -> u64 {
        self.advance(now);
        // Relaxed: as in `take`. A ring that is sealed has no reader.
        self.held.load(Ordering::Relaxed) & !SEALED
    }

    pub(super) fn is_sealed(&self) -> bool {
        // Relaxed: what replaces it is behind a lock.
        self.held.load(Ordering::Relaxed) & SEALED != 0
    }

    /// Ends this ring: every later take fails. Calls `each` with each start that may still count.
    pub(super) fn seal(&self, now: u64, mut each: impl FnMut(u64, u64)) {
        let newest = self.advance(now);
        // Relaxed: as in `take`.
        let mut held = self.held.fetch_or(SEALED, Ordering::Relaxed);
        for part in newest - PARTS..=newest {
            let units = Sum(self.place(part).load(Ordering::Relaxed))
                .units()
                .min(held);
            held -= units;
            // At the end of the part at the latest.
            let end = self
                .part_nanos
                .saturating_mul((part + 1).saturating_sub(PLACES));
            each(end.min(now), units);
        }
        // Another thread is about to add these to a part.
        each(now, held);
    }

    /// Gives back units that did not start, unless their part has left.
    pub(super) fn give_back(&self, mark: &Mark) {
        let less = |sum: u64| {
            let is_there = Sum(sum).is_of(mark.place) && Sum(sum).units() >= mark.cost;
            is_there.then(|| sum - mark.cost)
        };
        let place = self.place(mark.place);
        let relaxed = Ordering::Relaxed;
        // Relaxed: as in `take`.
        if place.fetch_update(relaxed, relaxed, less).is_ok() {
            self.held.fetch_sub(mark.cost, relaxed);
        }
    }

    pub(super) fn wait(&self, units: u64, now: u64) -> u64 {
        let newest = self.advance(now);
        let held = self.held.load(Ordering::Relaxed);
        let Some(over) = held.saturating_add(units).checked_sub(self.capacity + 1) else {
            return 0;
        };
        if self.capacity == 0 {
            return u64::MAX;
        }
        // The unit that must leave is number `over` from the oldest, including waiting units;
        // laps are added.
        let (laps, over) = (over / self.capacity, over % self.capacity);
        let leaves = match self.part_of(over, newest) {
            Some(part) => part,
            // That unit waits itself, and starts now at the earliest.
            None if over >= held => newest,
            // Another thread is about to add it to its part, or to give it back.
            None => return self.part_nanos,
        };
        // Part `leaves` passes its place to part `leaves + PLACES`, and time starts in part
        // `PLACES`.
        let lap_nanos = self.part_nanos.saturating_mul(PLACES);
        let free_at = self.part_nanos.saturating_mul(leaves);
        free_at
            .saturating_sub(now)
            .saturating_add(lap_nanos.saturating_mul(laps))
            .max(1)
    }

    /// Returns the part in which number `unit` from the oldest started.
    fn part_of(&self, mut unit: u64, newest: u64) -> Option<u64> {
        (newest - PARTS..=newest).find(|part| {
            let units = Sum(self.place(*part).load(Ordering::Relaxed)).units();
            let is_there = unit < units;
            unit = unit.saturating_sub(units);
            is_there
        })
    }

    /// Gives each part up to the one of `now` its place, and returns the number of that part. The
    /// former contents of the places have left the period.
    fn advance(&self, now: u64) -> u64 {
        let part = (now / self.part_nanos).saturating_add(PLACES);
        // Acquire: a thread that sees a part here sees that its place is ready.
        let newest = self.newest.load(Ordering::Acquire);
        if part > newest {
            self.hand_over(newest, part);
        }
        part.max(newest)
    }

    #[cold]
    fn hand_over(&self, newest: u64, part: u64) {
        for next in (newest + 1).max(part - PARTS)..=part {
            // The part that had this place when `newest` was the newest. Any other part was written
            // by another thread since, and stays. The 24 bits could confuse the two only if threads
            // race for the same place after an idle time of exactly 2²⁴ turns of the ring.
            let before = next - (next - newest).div_ceil(PLACES) * PLACES;
            let empty = |sum| Sum(sum).is_of(before).then(|| Sum::empty(next).0);
            let relaxed = Ordering::Relaxed;
            if let Ok(sum) = self.place(next).fetch_update(relaxed, relaxed, empty) {
                self.held.fetch_sub(Sum(sum).units(), relaxed);
            }
        }
        // Release: pairs with the load in `advance`.
        self.newest.fetch_max(part, Ordering::Release);
    }

    fn place(&self, part: u64) -> &AtomicU64 {
        &self.places[(part % PLACES) as usize]
    }
}

// ===== impl Sum =====

impl Sum {
    const UNIT_BITS: u32 = 40;
    pub(super) const LARGEST: u64 = (1 << Self::UNIT_BITS) - 1;

    fn empty(part: u64) -> Self {
        Self(part << Self::UNIT_BITS)
    }

    fn is_of(self, part: u64) -> bool {
        self.0 & !Self::LARGEST == part << Self::UNIT_BITS
    }

    fn units(self) -> u64 {
        self.0 & Self::LARGEST
    }
}

#[cfg(all(test, throttle_loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn loom_racing_takers_never_exceed_the_limit() {
        crate::sync::model(|| {
            // Parts of 10 ns; a unit that starts at 5 counts until 30.
            let ring = Arc::new(Ring::new(2, 20));
            assert!(ring.take(1, 5).is_ok());
            let other = Arc::clone(&ring);
            let taker = thread::spawn(move || (0..2).filter(|_| other.take(1, 29).is_ok()).count());
            let mine = usize::from(ring.take(1, 12).is_ok());
            let admitted = mine + taker.join().unwrap();
            assert_eq!(admitted, 1);
        });
    }

    #[test]
    fn loom_units_that_left_are_given_back_once() {
        crate::sync::model(|| {
            let ring = Arc::new(Ring::new(2, 20));
            assert!(ring.take(2, 5).is_ok());
            let other = Arc::clone(&ring);
            let taker = thread::spawn(move || usize::from(other.take(2, 31).is_ok()));
            let mine = usize::from(ring.take(1, 32).is_ok());
            assert_eq!(mine + taker.join().unwrap(), 1);
        });
    }

    #[test]
    fn loom_a_late_thread_keeps_later_units() {
        crate::sync::model(|| {
            let ring = Arc::new(Ring::new(2, 20));
            assert!(ring.take(2, 5).is_ok());
            let other = Arc::clone(&ring);
            // The same place of the ring, a whole turn earlier.
            let late = thread::spawn(move || other.take(1, 31));
            if ring.take(2, 61).is_ok() {
                assert!(!ring.take(1, 62).is_ok());
            }
            let _ = late.join().unwrap();
        });
    }

    #[test]
    fn loom_a_racing_refund_is_counted_once() {
        crate::sync::model(|| {
            let ring = Arc::new(Ring::new(2, 20));
            let mark = ring.take(2, 5).unwrap();
            let other = Arc::clone(&ring);
            let taker = thread::spawn(move || usize::from(other.take(1, 31).is_ok()));
            ring.give_back(&mark);
            let taken = taker.join().unwrap();
            let left = (0..3).filter(|_| ring.take(1, 32).is_ok()).count();
            assert_eq!(taken + left, 2);
        });
    }

    #[test]
    fn loom_leaving_units_delay_by_at_most_a_part() {
        crate::sync::model(|| {
            let ring = Arc::new(Ring::new(2, 20));
            assert!(ring.take(2, 5).is_ok());
            let other = Arc::clone(&ring);
            let waiter = thread::spawn(move || other.wait(1, 31));
            // At most one part.
            assert!(ring.wait(2, 31) <= 10);
            assert!(waiter.join().unwrap() <= 10);
        });
    }
}
