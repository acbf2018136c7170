//! The tokens of the queued requests.

use crate::{
    ai::{provider::Accounting, tokens::Tokens},
    http::Dimension,
};

/// The whole queue, in parts.
pub(crate) const WHOLE: u64 = 1 << 16;

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
            sum.change(u64::wrapping_add, lane.requests, lane.tokens);
        }
        sum
    }

    /// Adds or subtracts requests and their tokens. Wrapping: each request leaves with the tokens
    /// that it joined with.
    pub(super) fn change(&mut self, by: fn(u64, u64) -> u64, requests: u64, tokens: Tokens) {
        self.requests = by(self.requests, requests);
        self.tokens.input = by(self.tokens.input, tokens.input);
        self.tokens.output = by(self.tokens.output, tokens.output);
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
