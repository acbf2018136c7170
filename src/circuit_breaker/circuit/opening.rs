//! The state of a circuit while it is open, and its probe.

use std::time::Duration;

use crate::error::{CircuitOpen, Outcome};

/// The time after which another probe starts.
const PROBE_NANOS: u64 = 60_000_000_000;

/// The state while it is open.
#[derive(Debug, Default)]
pub(super) struct OpenState {
    /// How often the circuit opened since it was last closed.
    pub(super) times: u32,
    pub(super) until: u64,
    /// The failure that opened it.
    pub(super) outcome: Option<Outcome>,
    /// The start of the probe that is under way.
    probe_since: Option<u64>,
    /// The number of the latest probe, of this opening or an earlier one.
    last_probe: u64,
}

// ===== impl OpenState =====

impl OpenState {
    /// Starts the next opening, or ends the last one. Numbers stay unique.
    pub(super) fn follow(&mut self, times: u32, until: u64, outcome: Option<Outcome>) {
        *self = Self {
            times,
            until,
            outcome,
            probe_since: None,
            last_probe: self.last_probe,
        };
    }

    /// Returns an error if a call would be rejected now.
    pub(super) fn admits(&self, now: u64) -> Result<(), CircuitOpen> {
        let wait = (self.until > now).then(|| Duration::from_nanos(self.until - now));
        let is_recent = |since: u64| now.saturating_sub(since) < PROBE_NANOS;
        match wait.is_some() || self.probe_since.is_some_and(is_recent) {
            true => Err(CircuitOpen::new(wait, self.outcome)),
            false => Ok(()),
        }
    }

    /// Starts a probe, and returns its number.
    pub(super) fn start_probe(&mut self, since: u64) -> u64 {
        self.last_probe += 1;
        self.probe_since = Some(since);
        self.last_probe
    }

    pub(super) fn is_probe(&self, number: u64) -> bool {
        self.probe_since.is_some() && self.last_probe == number
    }

    pub(super) fn end_probe(&mut self, number: u64) {
        if self.is_probe(number) {
            self.probe_since = None;
        }
    }
}
