//! What a process has taken and may have to report again, if the store forgets it.

use super::call::LimitSpec;
use crate::limit::{
    algorithm::window::{Period, RefundableWindow},
    nanos,
};

/// The units taken in the last period, by the clock of the store.
#[derive(Debug)]
pub(super) struct GrantHistory {
    taken: RefundableWindow,
    period: Period,
}

// ===== impl GrantHistory =====

impl GrantHistory {
    /// Creates the history of `limit`.
    pub(super) fn new(limit: &LimitSpec) -> Self {
        // The store rounds the starts of a window.
        let is_rounded = matches!(limit, LimitSpec::Window { .. });
        Self {
            taken: RefundableWindow::default(),
            period: Period::of(nanos(limit.span()), is_rounded),
        }
    }

    /// Adds units that count from `at` on.
    pub(super) fn add(&mut self, at: u64, units: u64) {
        self.taken.advance(self.period.nanos, at);
        self.taken.take(self.taken.start(&self.period, at), units);
    }

    /// Removes units that were added at `at` and not used.
    pub(super) fn remove(&mut self, at: u64, units: u64) {
        let start = self.taken.start(&self.period, at);
        self.taken.give_back(start, units);
    }

    pub(super) fn is_empty_at(&mut self, now: u64) -> bool {
        self.taken.advance(self.period.nanos, now);
        self.taken.used() == 0
    }

    /// Returns the same for another limit.
    pub(super) fn of(&self, limit: &LimitSpec) -> Self {
        let mut other = Self::new(limit);
        self.taken
            .iter()
            .for_each(|(at, units)| other.add(at, units));
        other
    }

    /// Changes all instants from a clock that shows `from` to another, which shows `to` then.
    pub(super) fn shift(&mut self, from: u64, to: u64) {
        let all: Vec<_> = self.taken.iter().collect();
        self.taken = RefundableWindow::default();
        for (at, units) in all {
            let at = at.saturating_add(to).saturating_sub(from);
            self.taken.take(at, units);
        }
    }

    /// Returns what counts at `now`, the oldest first.
    pub(super) fn since(&mut self, now: u64) -> Vec<(u64, u64)> {
        self.taken.advance(self.period.nanos, now);
        self.taken.iter().collect()
    }
}
