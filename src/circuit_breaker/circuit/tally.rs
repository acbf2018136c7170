//! The recent outcomes of a closed circuit.

use crate::sync::{AtomicU64, Ordering};

/// The number of parts of the window, and the length of a part.
const PARTS: u64 = if cfg!(throttle_loom) { 2 } else { 10 };
const PART_NANOS: u64 = 1_000_000_000;

/// The minimum number of outcomes for the failure rate to count.
const ENOUGH: u64 = 20;

/// The outcomes of the last 10 seconds, and the number of failures in a row.
///
/// Relaxed throughout: the numbers are independent.
#[derive(Debug, Default)]
pub(super) struct Tally {
    in_a_row: AtomicU64,
    /// The latest instant at which one of the failures in a row allowed a retry.
    hinted: AtomicU64,
    successes: Recent,
    failures: Recent,
}

/// A count for each of the last seconds: the low 32 bits of the second's number, and the count.
#[derive(Debug, Default)]
struct Recent([AtomicU64; PARTS as usize]);

// ===== impl Tally =====

impl Tally {
    #[inline]
    pub(super) fn succeeded(&self, now: u64) {
        // It is nearly always 0, and then only read.
        if self.in_a_row.load(Ordering::Relaxed) != 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
            self.hinted.store(0, Ordering::Relaxed);
        }
        self.successes.add(now);
    }

    /// Counts a failure. Returns whether there are too many: `most` in a row, or half of all.
    pub(super) fn failed(&self, most: u64, hinted: u64, now: u64) -> bool {
        self.hinted.fetch_max(hinted, Ordering::Relaxed);
        let in_a_row = self.in_a_row.fetch_add(1, Ordering::Relaxed) + 1;
        self.failures.add(now);
        let failed = self.failures.sum(now);
        let all = failed + self.successes.sum(now);
        in_a_row >= most || (all >= ENOUGH && failed * 2 >= all)
    }

    pub(super) fn hinted(&self) -> u64 {
        self.hinted.load(Ordering::Relaxed)
    }

    pub(super) fn clear(&self) {
        self.in_a_row.store(0, Ordering::Relaxed);
        self.hinted.store(0, Ordering::Relaxed);
        self.successes.clear();
        self.failures.clear();
    }
}

// ===== impl Recent =====

impl Recent {
    fn add(&self, now: u64) {
        let part = now / PART_NANOS;
        let place = &self.0[(part % PARTS) as usize];
        let more = |held: u64| match held >> 32 == part & 0xffff_ffff {
            // Not into the number of the part.
            true => (held & 0xffff_ffff < 0xffff_ffff).then(|| held + 1),
            false => Some(part << 32 | 1),
        };
        let _ = place.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
    }

    /// Returns the count in the window that ends with the part of `now`.
    fn sum(&self, now: u64) -> u64 {
        let part = now / PART_NANOS;
        let held = self.0.iter().map(|place| place.load(Ordering::Relaxed));
        held.filter(|held| (part & 0xffff_ffff).wrapping_sub(held >> 32) < PARTS)
            .map(|held| held & 0xffff_ffff)
            .sum()
    }

    fn clear(&self) {
        for place in &self.0 {
            place.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use super::*;

    const SECOND: u64 = PART_NANOS;

    #[test]
    fn what_is_ten_seconds_old_does_not_count() {
        let recent = Recent::default();
        recent.add(0);
        recent.add(SECOND / 2);
        recent.add(3 * SECOND);
        assert_eq!(recent.sum(3 * SECOND), 3);
        assert_eq!(recent.sum(10 * SECOND - 1), 3);
        assert_eq!(recent.sum(10 * SECOND), 1);
        assert_eq!(recent.sum(13 * SECOND - 1), 1);
        assert_eq!(recent.sum(13 * SECOND), 0);
        recent.add(10 * SECOND);
        assert_eq!(recent.sum(10 * SECOND), 2);
        assert_eq!(recent.sum(u64::MAX), 0);
        recent.add(u64::MAX);
        assert_eq!(recent.sum(u64::MAX), 1);
    }

    #[test]
    fn a_clock_that_is_read_late_counts_for_its_own_time() {
        let recent = Recent::default();
        recent.add(2 * SECOND);
        recent.add(SECOND);
        assert_eq!(recent.sum(2 * SECOND), 2);
        assert_eq!(recent.sum(11 * SECOND), 1);
    }

    #[test]
    fn half_of_twenty_outcomes_is_too_many() {
        let tally = Tally::default();
        for _ in 0..9 {
            tally.succeeded(0);
            assert!(!tally.failed(100, 0, 0));
        }
        assert!(!tally.failed(100, 0, 0), "10 of 19");
        tally.succeeded(0);
        assert!(tally.failed(100, 0, 0), "11 of 21");
    }

    #[test]
    fn a_success_ends_the_row_and_its_hint() {
        let tally = Tally::default();
        assert!(!tally.failed(2, 7, 0));
        assert_eq!(tally.hinted(), 7);
        tally.succeeded(0);
        assert_eq!(tally.hinted(), 0);
        assert!(!tally.failed(2, 3, 0));
        assert!(tally.failed(2, 1, 0));
        assert_eq!(tally.hinted(), 3);
    }
}
