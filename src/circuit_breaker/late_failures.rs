use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use crate::{
    circuit_breaker::circuit::Circuit,
    error::{Outcome, OutcomeSet},
};

/// The circuits that count the error at the end of an event stream.
///
/// In the extensions of its response: breakers inside and outside of the `ProviderLayer` that reads
/// the stream add their circuits.
#[derive(Debug, Clone, Default)]
pub(crate) struct LateFailures(Arc<Mutex<Vec<Counting>>>);

type Counting = (Circuit, OutcomeSet);

impl LateFailures {
    pub(super) fn add(&self, circuit: Circuit, outcomes: OutcomeSet) {
        self.circuits().push((circuit, outcomes));
    }

    /// Reports an error to all circuits, each once.
    pub(crate) fn failed_as(&self, outcome: Outcome, retry_after: Option<Duration>) {
        let circuits = mem::take(&mut *self.circuits());
        for (circuit, _) in circuits.iter().filter(|(_, set)| set.contains(outcome)) {
            if let Ok(call) = circuit.enter() {
                call.failed_as(Some(outcome), retry_after);
            }
        }
    }

    fn circuits(&self) -> MutexGuard<'_, Vec<Counting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
