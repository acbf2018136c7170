//! A limit that holds for every window, wherever it begins, or for one window after the other.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{Allowance, Left, Room, Taken};

/// A log of what was taken within the last window, and its sum.
#[derive(Debug)]
pub(crate) struct Window {
    limit: u64,
    window: Duration,
    is_fixed: bool,
    /// When the first of the fixed windows began.
    begun: Option<Instant>,
    /// Oldest first.
    log: VecDeque<Entry>,
    /// The number of the oldest entry: they are numbered in the order in which they came.
    oldest: u64,
    /// The units of all entries. Wider than any of them, so that it doesn't overflow.
    sum: u128,
}

#[derive(Debug)]
struct Entry {
    /// When it was taken; for fixed windows, the beginning of its window.
    at: Instant,
    units: u64,
}

// ===== impl Window =====

impl Window {
    pub(super) fn new(limit: u64, window: Duration, is_fixed: bool) -> Self {
        Self {
            limit,
            window,
            is_fixed,
            begun: None,
            log: VecDeque::new(),
            oldest: 0,
            sum: 0,
        }
    }

    /// The beginning of the window that counts what is taken `now`.
    fn beginning(&mut self, now: Instant) -> Instant {
        if !self.is_fixed {
            return now;
        }
        let age = now.saturating_duration_since(*self.begun.get_or_insert(now));
        let into = age.as_nanos() % self.window.as_nanos().max(1);
        now - Duration::from_nanos(u64::try_from(into).unwrap_or(0))
    }

    fn until_gone(&self, entry: &Entry, now: Instant) -> Duration {
        self.window
            .saturating_sub(now.saturating_duration_since(entry.at))
    }

    fn forget(&mut self, now: Instant) {
        while let Some(entry) = self.log.front() {
            if now.saturating_duration_since(entry.at) < self.window {
                break;
            }
            self.sum -= u128::from(entry.units);
            self.oldest += 1;
            self.log.pop_front();
        }
    }
}

impl Allowance for Window {
    /// Looks only at the entries that must leave before there is room.
    fn room(&mut self, now: Instant, units: u64) -> Room {
        self.forget(now);
        if units > self.limit {
            return Room::Never;
        }
        let Some(over) = (self.sum + u128::from(units))
            .checked_sub(u128::from(self.limit))
            .filter(|over| *over > 0)
        else {
            return Room::Now;
        };
        let mut freed = 0;
        let last = self.log.iter().find(|entry| {
            freed += u128::from(entry.units);
            freed >= over
        });
        Room::In(last.map_or(self.window, |entry| self.until_gone(entry, now)))
    }

    fn take(&mut self, now: Instant, units: u64) -> Taken {
        self.forget(now);
        let at = self.beginning(now);
        self.log.push_back(Entry { at, units });
        self.sum += u128::from(units);
        let number = self.oldest + self.log.len() as u64 - 1;
        Taken { number, units }
    }

    /// Changes the units of an entry, if it still counts.
    fn settle(&mut self, now: Instant, taken: &Taken, units: u64) {
        self.forget(now);
        let place = taken.number.checked_sub(self.oldest);
        if let Some(entry) = place.and_then(|place| self.log.get_mut(place as usize)) {
            self.sum = self.sum - u128::from(entry.units) + u128::from(units);
            entry.units = units;
        }
    }

    fn left(&mut self, now: Instant) -> Left {
        self.forget(now);
        let newest = self.log.iter().rev().find(|entry| entry.units > 0);
        let sum = u64::try_from(self.sum).unwrap_or(u64::MAX);
        Left {
            limit: self.limit,
            remaining: self.limit.saturating_sub(sum),
            reset: newest.map_or(Duration::ZERO, |entry| self.until_gone(entry, now)),
        }
    }

    fn set_limit(&mut self, _: Instant, limit: u64) {
        self.limit = limit;
    }
}
