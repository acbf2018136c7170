//! What was let through a circuit.

use std::{fmt, time::Duration};

use super::{Circuit, engine::Ticket};
use crate::Outcome;

/// A call that its [`Circuit`] has let through, and that is to say what came of it.
///
/// Dropped without a word it says nothing: the call was cancelled, or panicked. One that was to find out whether all is
/// well again leaves that to the next one then.
///
/// What comes of a call counts for the time in which it began: one that began before the circuit opened neither closes it
/// nor opens it again.
#[must_use = "dropping it says nothing of the call"]
pub struct Watch {
    circuit: Circuit,
    ticket: Ticket,
    is_told: bool,
}

/// One who goes to a circuit that would let a call through, so that others need not go as well.
///
/// Its place is free again when it is dropped.
pub(crate) struct Scout {
    circuit: Circuit,
    ticket: Ticket,
}

// ===== impl Watch =====

impl Watch {
    pub(super) const fn new(circuit: Circuit, ticket: Ticket) -> Self {
        Self {
            circuit,
            ticket,
            is_told: false,
        }
    }

    /// The call went well. Closes a circuit that was open.
    #[inline]
    pub fn succeeded(mut self) {
        self.is_told = true;
        self.circuit.succeeded(self.ticket);
    }

    /// The call failed; `hint` is how long the other side asked to be left alone for.
    pub fn failed(self, hint: Option<Duration>) {
        self.failed_as(None, hint);
    }

    /// The call failed in this way.
    pub(crate) fn failed_as(mut self, outcome: Option<Outcome>, hint: Option<Duration>) {
        self.is_told = true;
        self.circuit.failed(self.ticket, hint, outcome);
    }

    /// The call says nothing about the other side, as one that was never sent.
    pub fn ignored(self) {}
}

impl Drop for Watch {
    #[inline]
    fn drop(&mut self) {
        if !self.is_told {
            self.circuit.0.engine.ignored(self.ticket);
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch")
            .field("circuit", &self.circuit)
            .finish_non_exhaustive()
    }
}

// ===== impl Scout =====

impl Scout {
    pub(super) const fn new(circuit: Circuit, ticket: Ticket) -> Self {
        Self { circuit, ticket }
    }
}

impl Drop for Scout {
    fn drop(&mut self) {
        self.circuit.0.engine.leave(self.ticket);
    }
}
