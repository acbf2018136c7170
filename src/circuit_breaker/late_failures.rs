use std::{
    mem,
    sync::{Arc, Mutex},
    time::Duration,
};

use crate::{
    circuit_breaker::circuit::Circuit,
    error::{Outcome, OutcomeSet},
    sync::unpoisoned,
};

/// The circuits that count the error at the end of an event stream.
///
/// In the extensions of its response: breakers inside and outside of the `ProviderLayer` that reads
/// the stream add their circuits.
#[derive(Debug, Clone, Default)]
pub(crate) struct LateFailures(Arc<Mutex<Vec<(Circuit, OutcomeSet)>>>);

impl LateFailures {
    pub(super) fn add(&self, circuit: Circuit, outcomes: OutcomeSet) {
        unpoisoned(self.0.lock()).push((circuit, outcomes));
    }

    /// Reports an error to all circuits, each once.
    pub(crate) fn failed_as(&self, outcome: Outcome, retry_after: Option<Duration>) {
        let circuits = mem::take(&mut *unpoisoned(self.0.lock()));
        for (circuit, _) in circuits.iter().filter(|(_, set)| set.contains(outcome)) {
            if let Ok(call) = circuit.enter() {
                call.failed_as(Some(outcome), retry_after);
            }
        }
    }
}
