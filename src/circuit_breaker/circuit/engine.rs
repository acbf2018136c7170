//! The state machine of a circuit. The methods take the current time.
//!
//! ```text
//!             too many failures                      cooldown over
//!  ┌▶ Closed ───────────────────▶ Open until t ─────────────────────▶ HalfOpen, one probe
//!  │                                  ▲    longer than the last time      │      │
//!  │                                  └───────────── it failed ───────────┘      │
//!  └──────────────────────────────────────────────── it succeeded ◀──────────────┘
//! ```
//!
//! Each opening and each closing starts a new *age*. A call has the number of the age in which it
//! began, and its outcome counts only in that age.

use std::time::Duration;

use super::{State, tally::Tally};
use crate::{
    backoff::{Backoff, above_hint},
    error::{CircuitOpen, Outcome},
    limit::nanos,
    sync::{AtomicU64, Mutex, MutexGuard, Ordering, unpoisoned},
};

/// The time after which another probe starts.
const PROBE_NANOS: u64 = 60_000_000_000;

#[derive(Debug)]
pub(super) struct Engine {
    pub(super) terms: CircuitSettings,
    /// Even while closed. Written under the lock of `opening`. A thread that reads a number here
    /// also sees all earlier changes of the tally.
    age: AtomicU64,
    tally: Tally,
    opening: Mutex<OpenState>,
    #[cfg(feature = "metrics")]
    pub(super) counts: Counts,
}

/// What has happened since the circuit was made.
#[cfg(feature = "metrics")]
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) opened: AtomicU64,
    pub(super) closed: AtomicU64,
    pub(super) rejected: AtomicU64,
}

/// The settings of a circuit.
#[derive(Debug, Clone, Copy)]
pub(super) struct CircuitSettings {
    pub(super) failures: u64,
    pub(super) cooldown: Backoff,
    pub(super) longest_hint: Duration,
}

/// The age in which a call began, and its number if it is a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CallTicket {
    age: u64,
    number: u64,
}

/// The state while it is open.
#[derive(Debug, Default)]
struct OpenState {
    /// How often the circuit opened since it was last closed.
    times: u32,
    until: u64,
    /// The failure that opened it.
    outcome: Option<Outcome>,
    /// The start of the probe that is under way.
    probe_since: Option<u64>,
    /// The number of the latest probe, of this opening or an earlier one.
    last_probe: u64,
}

// ===== impl Engine =====

impl Engine {
    pub(super) fn new(terms: CircuitSettings) -> Self {
        Self {
            terms,
            age: AtomicU64::new(0),
            tally: Tally::default(),
            opening: Mutex::new(OpenState::default()),
            #[cfg(feature = "metrics")]
            counts: Counts::default(),
        }
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        is_closed(self.age())
    }

    /// Admits a call: any while it is closed, or else a probe.
    #[inline]
    pub(super) fn enter(&self, now: impl FnOnce() -> u64) -> Result<CallTicket, CircuitOpen> {
        let mut opening = match self.opening() {
            Ok(opening) => opening,
            Err(age) => return Ok(CallTicket { age, number: 0 }),
        };
        let now = now();
        opening.admits(now)?;
        opening.last_probe += 1;
        opening.probe_since = Some(now);
        Ok(CallTicket {
            age: self.age(),
            number: opening.last_probe,
        })
    }

    /// Returns an error if a call would be rejected now.
    #[inline]
    pub(super) fn check(&self, now: impl FnOnce() -> u64) -> Result<(), CircuitOpen> {
        self.opening()
            .map_or(Ok(()), |opening| opening.admits(now()))
    }

    /// Locks the state if it is open, or else returns the age in which it is closed.
    #[inline]
    fn opening(&self) -> Result<MutexGuard<'_, OpenState>, u64> {
        let closed = || Some(self.age()).filter(|age| is_closed(*age));
        if let Some(age) = closed() {
            return Err(age);
        }
        let opening = self.lock();
        // It may have closed before the lock was taken.
        closed().map_or(Ok(opening), Err)
    }

    /// Returns the state, and for how long the circuit is still open.
    pub(super) fn state(&self, now: u64) -> (State, Option<Duration>) {
        let opening = self.lock();
        match opening.until.saturating_sub(now) {
            _ if self.is_closed() => (State::Closed, None),
            0 => (State::HalfOpen, Some(Duration::ZERO)),
            left => (State::Open, Some(Duration::from_nanos(left))),
        }
    }

    /// Counts a success. Returns whether it closed the circuit.
    #[inline]
    pub(super) fn succeeded(&self, ticket: CallTicket, now: impl FnOnce() -> u64) -> bool {
        if !is_closed(ticket.age) {
            return self.close(ticket);
        }
        // A success that races with an opening may count after the next closing, which is harmless.
        if self.age() == ticket.age {
            self.tally.succeeded(now());
        }
        false
    }

    #[cold]
    fn close(&self, probe: CallTicket) -> bool {
        let mut opening = self.lock();
        // The probe is of an earlier opening. Any probe of this opening counts, however long it
        // took.
        if self.age() != probe.age {
            return false;
        }
        self.tally.clear();
        opening.follow(0, 0, None);
        self.age.store(probe.age.wrapping_add(1), Ordering::Release);
        // Relaxed: a lone number.
        #[cfg(feature = "metrics")]
        self.counts.closed.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Counts a failure. If it opened the circuit, returns the cooldown.
    #[cold]
    pub(super) fn failed(
        &self,
        ticket: CallTicket,
        hint: Option<Duration>,
        outcome: Option<Outcome>,
        now: u64,
        random: u64,
    ) -> Option<Duration> {
        let mut opening = self.lock();
        if self.age() != ticket.age {
            return None;
        }
        let hint = hint.map(|hint| above_hint(hint.min(self.terms.longest_hint), random));
        let hinted = hint.map_or(0, |hint| now.saturating_add(nanos(hint)));
        let hinted = if is_closed(ticket.age) {
            if !self.tally.failed(self.terms.failures, hinted, now) {
                return None;
            }
            self.tally.hinted()
        } else {
            opening.is_probe(ticket.number).then_some(hinted)?
        };
        let cooldown = self.terms.cooldown;
        let cooldown = cooldown.wait(opening.times, Duration::ZERO, random);
        let until = now.saturating_add(nanos(cooldown)).max(hinted);
        let times = opening.times.saturating_add(1);
        opening.follow(times, until, outcome);
        // The next odd number.
        let age = ticket.age.wrapping_add(1) | 1;
        self.age.store(age, Ordering::Release);
        // Relaxed: a lone number.
        #[cfg(feature = "metrics")]
        self.counts.opened.fetch_add(1, Ordering::Relaxed);
        Some(Duration::from_nanos(until.saturating_sub(now)))
    }

    /// Lets the next call be the probe, if this call was the probe and has no outcome.
    #[inline]
    pub(super) fn ignored(&self, ticket: CallTicket) {
        if !is_closed(ticket.age) {
            // Numbers are unique, so the age does not matter.
            let mut opening = self.lock();
            if opening.is_probe(ticket.number) {
                opening.probe_since = None;
            }
        }
    }

    #[inline]
    fn age(&self) -> u64 {
        self.age.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, OpenState> {
        // Nothing panics under this lock.
        unpoisoned(self.opening.lock())
    }
}

// ===== impl OpenState =====

impl OpenState {
    /// Starts the next opening, or ends the last one. Numbers stay unique.
    fn follow(&mut self, times: u32, until: u64, outcome: Option<Outcome>) {
        *self = Self {
            times,
            until,
            outcome,
            probe_since: None,
            last_probe: self.last_probe,
        };
    }

    /// Returns an error if a call would be rejected now.
    fn admits(&self, now: u64) -> Result<(), CircuitOpen> {
        let wait = (self.until > now).then(|| Duration::from_nanos(self.until - now));
        let is_recent = |since: u64| now.saturating_sub(since) < PROBE_NANOS;
        match wait.is_some() || self.probe_since.is_some_and(is_recent) {
            true => Err(CircuitOpen::new(wait, self.outcome)),
            false => Ok(()),
        }
    }

    fn is_probe(&self, number: u64) -> bool {
        self.probe_since.is_some() && self.last_probe == number
    }
}

const fn is_closed(age: u64) -> bool {
    age & 1 == 0
}
