//! The guard of a call that a circuit admitted.

use std::time::Duration;

use super::{Circuit, engine::CallTicket};
use crate::error::Outcome;

/// A call that its [`Circuit`] admitted, and whose outcome counts.
///
/// If it is dropped, for example because the call was cancelled or panicked, the call does not
/// count. If it was the probe, the next call is the probe.
///
/// An outcome counts in the state in which the call began: a call that began before the circuit
/// opened neither closes it nor opens it again.
#[must_use = "a call that is dropped does not count"]
pub struct CallGuard {
    pub(in crate::circuit_breaker) circuit: Circuit,
    pub(super) ticket: CallTicket,
    pub(super) is_counted: bool,
}

// ===== impl CallGuard =====

impl CallGuard {
    /// Counts a success, which closes a circuit that was open.
    #[inline]
    pub fn succeeded(mut self) {
        self.is_counted = true;
        let engine = &self.circuit.0.engine;
        if engine.succeeded(self.ticket, || self.circuit.now()) {
            crate::macros::event!(target: "tower_throttle::circuit_breaker", "circuit closed");
        }
    }

    /// Counts a failure; `hint` is the wait that the server asked for.
    pub fn failed(self, hint: Option<Duration>) {
        self.failed_as(None, hint);
    }

    /// Counts a failure with this outcome.
    pub(crate) fn failed_as(mut self, outcome: Option<Outcome>, hint: Option<Duration>) {
        self.is_counted = true;
        let (engine, now) = (&self.circuit.0.engine, self.circuit.now());
        if let Some(_cooldown) = engine.failed(self.ticket, hint, outcome, now, rand::random()) {
            crate::macros::event!(
                target: "tower_throttle::circuit_breaker",
                cooldown = ?_cooldown, "circuit opened"
            );
        }
    }

    /// Does not count the call, for example because it was never sent.
    pub fn ignored(self) {}
}

impl Drop for CallGuard {
    #[inline]
    fn drop(&mut self) {
        if !self.is_counted {
            self.circuit.0.engine.ignored(self.ticket);
        }
    }
}

crate::macros::debug!(impl Debug for CallGuard |self| { circuit, .. });
