//! The tokens of the queued requests.

use super::WHOLE;
use crate::{
    ai::{provider::Accounting, tokens::Tokens},
    http::Dimension,
};

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct QueuedTokens {
    pub(crate) requests: u64,
    tokens: Tokens,
}

// ===== impl QueuedTokens =====

impl QueuedTokens {
    /// Returns the tokens of several priorities.
    pub(super) fn sum(lanes: &[Self]) -> Self {
        let mut sum = Self::default();
        for lane in lanes {
            sum.requests = sum.requests.wrapping_add(lane.requests);
            sum.tokens.input = sum.tokens.input.wrapping_add(lane.tokens.input);
            sum.tokens.output = sum.tokens.output.wrapping_add(lane.tokens.output);
        }
        sum
    }

    // Wrapping: each request leaves with the tokens that it joined with.

    pub(super) fn join(&mut self, tokens: Tokens) {
        self.requests = self.requests.wrapping_add(1);
        self.tokens.input = self.tokens.input.wrapping_add(tokens.input);
        self.tokens.output = self.tokens.output.wrapping_add(tokens.output);
    }

    pub(super) fn leave(&mut self, tokens: Tokens) {
        self.requests = self.requests.wrapping_sub(1);
        self.tokens.input = self.tokens.input.wrapping_sub(tokens.input);
        self.tokens.output = self.tokens.output.wrapping_sub(tokens.output);
    }

    /// Returns `share` parts of [`WHOLE`] of the queued units of `dimension`, rounded up.
    #[inline]
    pub(crate) fn share_of(&self, dimension: Dimension, share: u64) -> u64 {
        let queued = match dimension {
            Dimension::Requests | Dimension::Concurrency => self.requests,
            _ => Accounting::reserved(dimension, self.tokens),
        };
        (u128::from(queued) * u128::from(share)).div_ceil(u128::from(WHOLE)) as u64
    }
}
