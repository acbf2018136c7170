//! What a provider has seen.

use super::{Dimension, Mishap, Rejection, Tokens};

/// What a provider has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Requests that were admitted.
    pub(crate) accepted: u64,
    /// Requests that were answered with 429.
    pub(crate) refused: u64,
    /// Requests that were refused as the provider was down.
    pub(crate) unavailable: u64,
    /// The most that were in flight at once.
    pub(crate) max_in_flight: usize,
    /// The most that came in any one window, refused or not.
    pub(crate) worst_window: usize,
    /// The tokens that all admitted requests reserved: prompts as estimated, and the most that
    /// responses may have.
    pub(crate) reserved_tokens: u64,
    /// The tokens that all requests used whose responses have ended.
    pub(crate) used_tokens: u64,
    refused_by: [u64; Dimension::ALL.len()],
    pub(super) met: [u64; Mishap::ALL.len()],
}

// ===== impl Counters =====

impl Counters {
    /// How many of the refusals named this limit.
    pub(crate) fn refused_by(&self, dimension: Dimension) -> u64 {
        self.refused_by[dimension as usize]
    }

    /// How many of the admitted requests met this.
    pub(crate) fn met(&self, mishap: Mishap) -> u64 {
        self.met[mishap as usize]
    }

    pub(super) fn accept(&mut self, reserved: Tokens, in_flight: usize) {
        self.accepted += 1;
        self.max_in_flight = self.max_in_flight.max(in_flight);
        self.reserved_tokens = self.reserved_tokens.saturating_add(reserved.total());
    }

    pub(super) fn refuse(&mut self, refusal: &Rejection) {
        match refusal {
            Rejection::Limited { dimension, .. } | Rejection::TooLarge(dimension) => {
                self.refused += 1;
                self.refused_by[*dimension as usize] += 1;
            }
            Rejection::Down => self.unavailable += 1,
        }
    }
}
