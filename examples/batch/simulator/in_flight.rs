//! An admitted request, until its response has ended.

use std::sync::Arc;

use tokio::time::Instant;

use super::{Prompt, State, ledger::Admission, tokens::Tokens};

/// A request that counts as in flight until this is dropped, when what it used so far is what it
/// used.
#[derive(Debug)]
pub(super) struct InFlight {
    state: Arc<State>,
    admission: Admission,
    used: Tokens,
    is_paid_for: bool,
}

// ===== impl InFlight =====

impl InFlight {
    /// A request that has used its prompt, or that will be forgiven its tokens.
    pub(super) fn new(
        state: Arc<State>,
        admission: Admission,
        input: u64,
        is_paid_for: bool,
    ) -> Self {
        let used = Tokens { input, output: 0 };
        Self {
            state,
            admission,
            used,
            is_paid_for,
        }
    }

    /// Counts the tokens of the response that are about to be sent.
    pub(super) fn has_written(&mut self, output: u64) {
        self.used.output = output;
    }

    /// Counts a full response to this prompt, which is about to be sent.
    pub(super) fn answers(self, prompt: Prompt) {
        self.state.answers.add(prompt);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut ledger = self.state.ledger();
        // Read under the lock, so that the log is in order.
        let now = Instant::now();
        if self.is_paid_for {
            ledger.end(now, &self.admission, self.used);
        } else {
            ledger.forgive(now, &self.admission);
        }
    }
}
