//! What is limited, and what a request takes of it.

use super::{super::style::Counting, Tokens};

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dimension {
    Requests,
    RequestsPerDay,
    Tokens,
    InputTokens,
    OutputTokens,
    Concurrent,
}

// ===== impl Dimension =====

impl Dimension {
    pub(crate) const ALL: [Self; 6] = [
        Self::Requests,
        Self::RequestsPerDay,
        Self::Tokens,
        Self::InputTokens,
        Self::OutputTokens,
        Self::Concurrent,
    ];

    /// What a request takes when it is let in. With what it really used in the place of what it reserved, what it
    /// is settled to when its answer has ended.
    pub(super) fn held(self, counting: Counting, tokens: Tokens) -> u64 {
        let output = match counting {
            Counting::Reserved | Counting::Settled => tokens.output,
            Counting::Completion => 0,
        };
        match self {
            Self::Requests | Self::RequestsPerDay | Self::Concurrent => 1,
            Self::Tokens => tokens.input.saturating_add(output),
            Self::InputTokens => tokens.input,
            Self::OutputTokens => output,
        }
    }

    /// What it takes besides when its answer has ended.
    pub(super) fn added(self, counting: Counting, used: Tokens) -> u64 {
        match (counting, self) {
            (Counting::Completion, Self::Tokens | Self::OutputTokens) => used.output,
            _ => 0,
        }
    }
}
