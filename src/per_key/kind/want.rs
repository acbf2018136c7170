//! What a request asks for, and how far from it there is room.

use std::time::Duration;

use crate::{Limit, Reason};

/// What one request asks for.
#[derive(Debug, Clone, Copy)]
pub struct Want {
    pub(in crate::per_key) cost: u64,
    /// What those want who came before it and wait.
    pub(in crate::per_key) ahead: u64,
    /// Whether it has waited its turn, and may be late because a timer was.
    pub(in crate::per_key) in_turn: bool,
}

/// There is no room, by which limit, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Short {
    pub(in crate::per_key) limit: Limit,
    pub(in crate::per_key) wait: Wait,
}

/// How long there is no room: from the shortest to the longest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::per_key) enum Wait {
    /// For so many nanoseconds.
    For(u64),
    /// Until something is given back.
    Unknown,
    /// For ever: it costs more than there ever is.
    Never { capacity: u64 },
}

// ===== impl Want =====

impl Want {
    pub(in crate::per_key) fn at_once(cost: u64) -> Self {
        let (ahead, in_turn) = (0, false);
        Self {
            cost,
            ahead,
            in_turn,
        }
    }

    pub(in crate::per_key) fn in_turn(cost: u64) -> Self {
        let in_turn = true;
        Self {
            in_turn,
            ..Self::at_once(cost)
        }
    }

    /// All that must fit until its own does.
    pub(super) fn units(&self) -> u64 {
        self.ahead.saturating_add(self.cost)
    }
}

// ===== impl Short =====

impl Short {
    pub(super) fn new(limit: Limit, wait: Wait) -> Self {
        Self { limit, wait }
    }

    /// Why a request of that cost is refused by a limit that lets nobody wait for longer.
    pub(in crate::per_key) fn reason(self, cost: u64, max_wait: Duration) -> Reason {
        match self.wait {
            Wait::Never { capacity } => Reason::NeverFits { cost, capacity },
            Wait::For(_) | Wait::Unknown => Reason::WaitTooLong { max_wait },
        }
    }

    /// The same where it may fit later, though it never fits into what it would share now.
    pub(in crate::per_key) fn not_for_ever(self) -> Self {
        match self.wait {
            Wait::Never { .. } => Self::new(self.limit, Wait::Unknown),
            Wait::For(_) | Wait::Unknown => self,
        }
    }
}

// ===== impl Wait =====

impl Wait {
    /// How long, where anybody knows.
    pub(in crate::per_key) fn known(self) -> Option<Duration> {
        match self {
            Self::For(nanos) => Some(Duration::from_nanos(nanos)),
            Self::Unknown | Self::Never { .. } => None,
        }
    }
}
