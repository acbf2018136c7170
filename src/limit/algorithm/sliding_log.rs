//! The start of each of the last `units` units: an exact, lock-free sliding window.
//!
//! Units are numbered in the order in which they are claimed. Unit `n` has place `n % units`, and
//! may start a whole period after unit `n - units`, which had that place before. This bounds every
//! period, because of any `units + 1` units two share a place.

use std::time::Duration;

use crate::{
    limit::{
        algorithm::{Mark, moved_on, steady},
        decision::Decision,
    },
    sync::{AtomicU64, Ordering},
};

/// A bit of [`Log::claimed`] after which nothing is claimed.
const SEALED: u64 = 1 << 63;

#[derive(Debug)]
pub(super) struct Log {
    /// The number of claimed units, and [`SEALED`].
    claimed: AtomicU64,
    /// For each place, when it is free again and the parity of its lap; see [`LogEntry`].
    places: Box<[AtomicU64]>,
    period: u64,
}

/// The content of a place: nanoseconds rounded up to an even number, and the parity of the lap in
/// the lowest bit.
///
/// A unit is claimed before its entry is written. In between, its place has the entry of the lap
/// before, which would look expired; the bit tells the two apart. One bit is enough, because the
/// place can't be claimed for the next lap until the entry of this one is written.
#[derive(Clone, Copy)]
struct LogEntry(u64);

// ===== impl Log =====

impl Log {
    pub(super) fn new(units: u64, period: u64) -> Self {
        let before_the_first_lap = LogEntry::free(1).0;
        Self {
            claimed: AtomicU64::new(0),
            places: (0..units)
                .map(|_| AtomicU64::new(before_the_first_lap))
                .collect(),
            period,
        }
    }

    pub(super) fn capacity(&self) -> u64 {
        self.places.len() as u64
    }

    #[inline]
    pub(super) fn take(&self, cost: u64, now: u64) -> Result<Mark, Decision> {
        // Acquire: with the release below, a thread that sees a claim sees all starts written
        // before it.
        let mut first = self.claimed.load(Ordering::Acquire);
        loop {
            if first >= SEALED {
                return Err(Decision::WAIT_FOR_OTHERS);
            }
            let free_at = self.all_free_at(first, cost, now);
            if free_at > now {
                // The place of `first` or a later unit may have been written meanwhile, and looks
                // as if it were claimed and not written yet.
                match moved_on(&self.claimed, first) {
                    Some(other) => first = other,
                    None => return Err(Decision::Wait(Duration::from_nanos(free_at - now))),
                }
                continue;
            }
            match self.claimed.compare_exchange_weak(
                first,
                first + cost,
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => break,
                Err(other) => first = other,
            }
        }
        for unit in first..first + cost {
            let (place, lap) = self.locate(unit);
            // Release: pairs with the load in `free_at`.
            place.store(self.entry(now, lap).0, Ordering::Release);
        }
        Ok(Mark::new(cost, first, now))
    }

    /// Returns the number of units that count. Looks at all places.
    pub(super) fn used(&self, now: u64) -> u64 {
        // Acquire: as in `take`.
        let claimed = self.claimed.load(Ordering::Acquire) & !SEALED;
        self.counting(claimed, now).count() as u64
    }

    pub(super) fn is_sealed(&self) -> bool {
        // Relaxed: what replaces it is behind a lock.
        self.claimed.load(Ordering::Relaxed) >= SEALED
    }

    /// Ends this log: every later take fails. Calls `each` with each start that may still count.
    pub(super) fn seal(&self, now: u64, mut each: impl FnMut(u64, u64)) {
        // Acquire: as in `take`.
        let claimed = self.claimed.fetch_or(SEALED, Ordering::AcqRel);
        for free_at in self.counting(claimed, now) {
            each(free_at.saturating_sub(self.period).min(now), 1);
        }
    }

    /// Returns when the place of each claimed unit that counts is free again.
    fn counting(&self, claimed: u64, now: u64) -> impl Iterator<Item = u64> {
        let units = claimed.saturating_sub(self.capacity())..claimed;
        let free_at = units.map(move |unit| {
            let (place, lap) = self.locate(unit);
            let entry = LogEntry(place.load(Ordering::Acquire));
            // If it is not written yet, it starts now.
            entry.free_at(lap).unwrap_or(u64::MAX)
        });
        free_at.filter(move |free_at| *free_at > now)
    }

    /// Gives back units that did not start. One thread at a time.
    ///
    /// The newest units become unclaimed again. Others stay claimed, and their places are free:
    /// they are available after the units that are older.
    pub(super) fn give_back(&self, mark: &Mark) {
        let (first, end) = (mark.place, mark.place + mark.cost);
        // Acquire: as in `take`.
        let is_newest = self.claimed.load(Ordering::Acquire) == end;
        // First of all, while they are claimed and no other thread writes them.
        self.rewrite(mark, |lap| {
            let next = lap + u64::from(is_newest);
            (self.entry(mark.at, lap), LogEntry::free(next))
        });
        let unclaim = || {
            self.claimed
                .compare_exchange(end, first, Ordering::AcqRel, Ordering::Acquire)
        };
        if is_newest && unclaim().is_err() {
            self.rewrite(mark, |lap| (LogEntry::free(lap + 1), LogEntry::free(lap)));
        }
    }

    /// Replaces the entries of some units, unless others have taken their places.
    fn rewrite(&self, mark: &Mark, entries: impl Fn(u64) -> (LogEntry, LogEntry)) {
        for unit in mark.place..mark.place + mark.cost {
            let (place, lap) = self.locate(unit);
            let (before, after) = entries(lap);
            // Release: pairs with the load in `free_at`.
            let _ = place.compare_exchange(before.0, after.0, Ordering::Release, Ordering::Relaxed);
        }
    }

    pub(super) fn wait(&self, units: u64, now: u64) -> u64 {
        let (Some(ahead), capacity @ 1..) = (units.checked_sub(1), self.capacity()) else {
            return 0;
        };
        // The unit of this lap with the place of the last unit; each further lap takes a period.
        let free_at = steady(&self.claimed, |first| {
            self.free_at(first + ahead % capacity, now)
        });
        let laps = self.period.saturating_mul(ahead / capacity);
        free_at.saturating_sub(now).saturating_add(laps)
    }

    pub(super) fn due_in(&self, cost: u64, now: u64) -> u64 {
        let free_at = steady(&self.claimed, |first| self.all_free_at(first, cost, now));
        free_at.saturating_sub(now)
    }

    /// Returns when all of the `cost` units from `first` on may start.
    #[inline]
    fn all_free_at(&self, first: u64, cost: u64, now: u64) -> u64 {
        let free_at = (first..first + cost).map(|unit| self.free_at(unit, now));
        free_at.max().unwrap_or(0)
    }

    /// Returns when `unit`, which is not claimed yet, may start.
    #[inline]
    fn free_at(&self, unit: u64, now: u64) -> u64 {
        let (place, lap) = self.locate(unit);
        // Acquire: pairs with the store in `take`.
        let entry = LogEntry(place.load(Ordering::Acquire));
        // If the unit before it is claimed and not written yet, that one starts now.
        let before = entry.free_at(lap.wrapping_sub(1));
        before.unwrap_or_else(|| now.saturating_add(self.period))
    }

    /// Returns the entry of a unit that starts at `now`.
    #[inline]
    fn entry(&self, now: u64, lap: u64) -> LogEntry {
        LogEntry::new(now.saturating_add(self.period), lap)
    }

    #[inline]
    fn locate(&self, unit: u64) -> (&AtomicU64, u64) {
        let capacity = self.capacity();
        (&self.places[(unit % capacity) as usize], unit / capacity)
    }
}

// ===== impl LogEntry =====

impl LogEntry {
    #[inline]
    fn new(free_at: u64, lap: u64) -> Self {
        Self((free_at.saturating_add(1) & !1) | (lap & 1))
    }

    /// Returns the entry of a place that is free.
    fn free(lap: u64) -> Self {
        Self::new(0, lap)
    }

    /// Returns when the place is free, if it was last written in `lap`.
    #[inline]
    fn free_at(self, lap: u64) -> Option<u64> {
        (self.0 & 1 == lap & 1).then_some(self.0 & !1)
    }
}

#[cfg(all(test, throttle_loom))]
mod loom_tests {
    use loom::{sync::Arc, thread};

    use super::*;

    #[test]
    fn loom_an_unwritten_claim_counts() {
        crate::sync::model(|| {
            let log = Arc::new(Log::new(2, 10));
            let other = Arc::clone(&log);
            let taker =
                thread::spawn(move || (0..2).filter(|_| other.take(1, 100).is_ok()).count());
            let mine = (0..2).filter(|_| log.take(1, 100).is_ok()).count();
            assert_eq!(mine + taker.join().unwrap(), 2);
        });
    }

    #[test]
    fn loom_a_lap_that_expired_is_taken_over_once() {
        crate::sync::model(|| {
            let log = Arc::new(Log::new(2, 10));
            assert!(log.take(2, 0).is_ok());
            let other = Arc::clone(&log);
            let taker = thread::spawn(move || (0..2).filter(|_| other.take(1, 20).is_ok()).count());
            let mine = (0..2).filter(|_| log.take(1, 20).is_ok()).count();
            assert_eq!(mine + taker.join().unwrap(), 2);
        });
    }

    #[test]
    fn loom_all_are_admitted_while_there_is_room() {
        crate::sync::model(|| {
            let log = Arc::new(Log::new(4, 10));
            assert!(log.take(4, 0).is_ok());
            let other = Arc::clone(&log);
            let taker = thread::spawn(move || other.take(1, 20).is_ok());
            assert!(log.take(1, 20).is_ok());
            assert!(taker.join().unwrap());
        });
    }

    #[test]
    fn loom_a_racing_refund_loses_no_start() {
        crate::sync::model(|| {
            let log = Arc::new(Log::new(2, 10));
            assert!(log.take(2, 0).is_ok());
            let mark = log.take(1, 20).unwrap();
            let other = Arc::clone(&log);
            let taker = thread::spawn(move || usize::from(other.take(1, 20).is_ok()));
            log.give_back(&mark);
            let taken = taker.join().unwrap();
            let mine = (0..3).filter(|_| log.take(1, 20).is_ok()).count();
            assert!((1..=2).contains(&(taken + mine)));
            // A lap later all places are there.
            assert!(log.take(2, 40).is_ok());
        });
    }
}
