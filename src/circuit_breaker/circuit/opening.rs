//! The state of a circuit while it is open, and its probe.

use std::time::Duration;

use crate::error::{CircuitOpen, Outcome};

/// How long a probe keeps the next one from starting.
const PROBE_NANOS: u64 = 60_000_000_000;

/// The state while it is open.
#[derive(Debug)]
pub(super) struct Opening {
    /// How often it has opened since it last was closed.
    pub(super) times: u32,
    pub(super) until: u64,
    /// The failure that opened it.
    pub(super) outcome: Option<Outcome>,
    probe: Option<Probe>,
    last_number: u64,
}

#[derive(Debug, Clone, Copy)]
struct Probe {
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
            probe: None,
            last_number: 0,
        }
    }

    /// Starts the next opening, or ends the last one. Numbers stay unique.
    pub(super) fn follow(&mut self, times: u32, until: u64) {
        *self = Self {
            times,
            until,
            last_number: self.last_number,
            ..Self::new()
        };
    }

    /// Returns an error if a call would be rejected now.
    pub(super) fn admits(&self, now: u64) -> Result<(), CircuitOpen> {
        if self.until > now {
            let left = Duration::from_nanos(self.until - now);
            return Err(CircuitOpen::new(Some(left), self.outcome));
        }
        match self.probe {
            Some(probe) if now.saturating_sub(probe.since) < PROBE_NANOS => {
                Err(CircuitOpen::new(None, self.outcome))
            }
            _ => Ok(()),
        }
    }

    /// Starts a probe, and returns its number.
    pub(super) fn start_probe(&mut self, since: u64) -> u64 {
        self.last_number += 1;
        let number = self.last_number;
        self.probe = Some(Probe { number, since });
        number
    }

    pub(super) fn is_probe(&self, number: u64) -> bool {
        self.probe.is_some_and(|probe| probe.number == number)
    }

    pub(super) fn end_probe(&mut self, number: u64) {
        if self.is_probe(number) {
            self.probe = None;
        }
    }
}
