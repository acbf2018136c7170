//! A request that was let in, until its answer has ended.

use std::sync::Arc;

use tokio::time::Instant;

use super::{State, ledger::Admission, tokens::Tokens};

/// A request that counts as in flight until this is dropped, when what it used so far is what it used.
#[derive(Debug)]
pub(super) struct InFlight {
    state: Arc<State>,
    admission: Admission,
    used: Tokens,
}

// ===== impl InFlight =====

impl InFlight {
    /// A request that has used its prompt.
    pub(super) fn new(state: Arc<State>, admission: Admission, input: u64) -> Self {
        let used = Tokens { input, output: 0 };
        Self {
            state,
            admission,
            used,
        }
    }

    /// So much of the answer is about to be sent.
    pub(super) fn has_written(&mut self, output: u64) {
        self.used.output = output;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut ledger = self.state.ledger();
        // Read under the lock, so that the log is in order.
        ledger.end(Instant::now(), &self.admission, self.used);
    }
}
