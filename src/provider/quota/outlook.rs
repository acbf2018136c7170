//! What one is told who asks without taking.

use super::{Due, Quotas};
use crate::{Dimension, Tokens};

/// All of those who wait, in parts.
pub(crate) const WHOLE: u64 = 1 << 16;

/// It costs more than the limit on a dimension ever holds.
#[derive(Debug)]
pub(crate) struct Never {
    pub(crate) dimension: Dimension,
    pub(crate) cost: u64,
    pub(crate) capacity: u64,
}

// ===== impl Quotas =====

impl Quotas {
    /// For a newcomer who does not come yet: whether there is room, and nobody waits.
    pub(crate) fn can_start(&mut self, tokens: Tokens, now: u64) -> bool {
        self.queued.requests == 0 && self.due(tokens, now, false).0 == Due::Now
    }

    /// How long a newcomer would wait behind a share of those who wait, in parts of [`WHOLE`]; or that it never fits.
    pub(crate) fn outlook(&mut self, tokens: Tokens, share: u64, now: u64) -> Result<Due, Never> {
        match self.never_fits(tokens) {
            Some(never) => Err(never),
            None => Ok(self.due_behind(tokens, now, false, share).0),
        }
    }

    /// The limit into which it never fits, if there is one.
    #[cold]
    pub(super) fn never_fits(&self, tokens: Tokens) -> Option<Never> {
        if self.flight.limit() == Some(0) {
            return Some(Never {
                dimension: Dimension::Concurrency,
                cost: 1,
                capacity: 0,
            });
        }
        self.meters.iter().find_map(|meter| {
            let cost = meter.cost(tokens);
            meter.never_fits(cost).then_some(Never {
                dimension: meter.dimension,
                cost,
                capacity: meter.capacity(),
            })
        })
    }
}
