//! What a request asks for.

/// What one request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    pub(in crate::limit::per_key) cost: u64,
    /// The cost of the requests that wait ahead of it.
    pub(in crate::limit::per_key) ahead: u64,
    /// Whether it is the head of the queue, and may be late because a timer was.
    pub(in crate::limit::per_key) in_turn: bool,
}

// ===== impl Want =====

impl Want {
    pub(in crate::limit::per_key) fn at_once(cost: u64) -> Self {
        let (ahead, in_turn) = (0, false);
        Self {
            cost,
            ahead,
            in_turn,
        }
    }

    pub(in crate::limit::per_key) fn in_turn(cost: u64) -> Self {
        let in_turn = true;
        Self {
            in_turn,
            ..Self::at_once(cost)
        }
    }

    /// Returns all units that have to fit before it does.
    pub(super) fn units(&self) -> u64 {
        self.ahead.saturating_add(self.cost)
    }
}
