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

    pub(super) fn is_of_requests(self) -> bool {
        matches!(self, Self::Requests | Self::RequestsPerDay)
    }

    /// The units that a request takes at its admission, for the tokens that it reserves; and the
    /// units that it is settled to at the end of its response, for the tokens that it used.
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

    /// The units that it takes in addition at the end of its response.
    pub(super) fn added(self, counting: Counting, used: Tokens) -> u64 {
        match (counting, self) {
            (Counting::Completion, Self::Tokens | Self::OutputTokens) => used.output,
            _ => 0,
        }
    }
}
