//! An admitted request, until its response has ended.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Admission, Mishap, State, Tokens};

/// A request that counts as in flight until this is dropped, when what it used so far is what it used.
#[derive(Debug)]
pub(super) struct InFlight {
    pub(super) state: Arc<State>,
    pub(super) admission: Admission,
    pub(super) prompt: u64,
    /// What it will have used at the end of its response.
    pub(super) total: Tokens,
    /// How long its response takes.
    pub(super) latency: Duration,
    /// How much of the response was sent, or is about to be.
    pub(super) written: u64,
    /// What goes wrong before the end.
    pub(super) mishap: Option<Mishap>,
}

// ===== impl InFlight =====

impl InFlight {
    /// Counts a full response, which is about to be sent.
    pub(super) fn answered(self) {
        self.state.answers.add(self.prompt);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut ledger = self.state.ledger();
        // Read under the lock, so that the log is in order.
        let now = Instant::now();
        if self.mishap.is_none_or(Mishap::is_paid_for) {
            let output = self.written;
            ledger.end(
                now,
                &self.admission,
                Tokens {
                    output,
                    ..self.total
                },
            );
        } else {
            ledger.forgive(now, &self.admission);
        }
    }
}
