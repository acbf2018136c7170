use std::time::Duration;

use crate::{
    circuit_breaker::circuit::Circuit,
    error::{Outcome, OutcomeSet},
};

/// Reports errors at the end of a stream to the circuit that let its request through.
///
/// It is in the extensions of an event stream, whose head was a success.
#[derive(Debug, Clone)]
pub(crate) struct LateFailures {
    pub(super) circuit: Circuit,
    pub(super) outcomes: OutcomeSet,
}

// ===== impl LateFailures =====

impl LateFailures {
    pub(crate) fn failed_as(&self, outcome: Outcome, retry_after: Option<Duration>) {
        if self.outcomes.contains(outcome) {
            if let Ok(call) = self.circuit.enter() {
                call.failed_as(Some(outcome), retry_after);
            }
        }
    }
}
