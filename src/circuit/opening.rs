//! How a circuit stands while it is open, and who finds out whether all is well again.

use std::time::Duration;

use crate::{CircuitOpen, Outcome};

/// How long one that is to find out keeps the next one from doing so.
const PATIENCE_NANOS: u64 = 60_000_000_000;

/// How it stands while it is open.
#[derive(Debug)]
pub(super) struct Opening {
    /// How often it has opened since it last was closed.
    pub(super) times: u32,
    pub(super) until: u64,
    /// The failure that opened it.
    pub(super) outcome: Option<Outcome>,
    pub(super) probe: Place,
    pub(super) scout: Place,
    last_number: u64,
}

/// A place for one.
#[derive(Debug, Default)]
pub(super) struct Place(Option<Taken>);

#[derive(Debug, Clone, Copy)]
struct Taken {
    number: u64,
    since: u64,
}

// ===== impl Opening =====

impl Opening {
    pub(super) const fn new() -> Self {
        Self {
            times: 0,
            until: 0,
            outcome: None,
            probe: Place(None),
            scout: Place(None),
            last_number: 0,
        }
    }

    /// The next opening, or none. Numbers go on.
    pub(super) fn follow(&mut self, times: u32, until: u64) {
        *self = Self {
            times,
            until,
            last_number: self.last_number,
            ..Self::new()
        };
    }

    /// Why a call that came now would be turned away.
    pub(super) fn turned_away(&self, now: u64) -> Result<(), CircuitOpen> {
        if self.until > now {
            let left = Duration::from_nanos(self.until - now);
            return Err(CircuitOpen::new(Some(left), self.outcome));
        }
        match self.probe.is_taken(now) {
            true => Err(CircuitOpen::new(None, self.outcome)),
            false => Ok(()),
        }
    }

    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }
}

// ===== impl Place =====

impl Place {
    pub(super) fn is_taken(&self, now: u64) -> bool {
        self.0
            .is_some_and(|taken| now.saturating_sub(taken.since) < PATIENCE_NANOS)
    }

    pub(super) fn is(&self, number: u64) -> bool {
        self.0.is_some_and(|taken| taken.number == number)
    }

    pub(super) fn take(&mut self, number: u64, now: u64) {
        let since = now;
        self.0 = Some(Taken { number, since });
    }

    pub(super) fn leave(&mut self, number: u64) {
        if self.is(number) {
            self.0 = None;
        }
    }
}
