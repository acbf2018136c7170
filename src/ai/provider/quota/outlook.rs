//! Queries that take nothing.

use std::time::Duration;

use super::Quotas;
use crate::{
    ai::tokens::Tokens,
    error::{LimitKind, Rejected},
    http::Dimension,
};

/// The whole queue, in parts.
pub(crate) const WHOLE: u64 = 1 << 16;

// ===== impl Quotas =====

impl Quotas {
    /// Returns `true` if a new request would start now: there is room and the queue is empty.
    pub(crate) fn can_start(&mut self, tokens: Tokens, now: u64) -> bool {
        self.queued.requests == 0 && self.due(tokens, now, Some(WHOLE)).0.is_admit()
    }

    /// Returns the expected wait behind `share` parts of [`WHOLE`] of the queue, if it is known.
    ///
    /// # Errors
    ///
    /// Returns an error if the request never fits.
    pub(crate) fn outlook(
        &mut self,
        tokens: Tokens,
        share: u64,
        now: u64,
    ) -> Result<Option<Duration>, Rejected> {
        self.fits(tokens)?;
        Ok(self.due(tokens, now, Some(share)).0.wait())
    }

    /// Checks that the request fits into all limits at some time.
    #[cold]
    pub(crate) fn fits(&self, tokens: Tokens) -> Result<(), Rejected> {
        let never = |dimension, cost, capacity| {
            Err(Rejected::never(LimitKind::Quota(dimension), cost, capacity))
        };
        if self.flight.limit == Some(0) {
            return never(Dimension::Concurrency, 1, 0);
        }
        for meter in self.meters.iter().filter(|meter| !meter.is_stored) {
            let cost = meter.cost(tokens);
            if meter.exceeds_capacity(cost) {
                return never(meter.dimension, cost, meter.capacity());
            }
        }
        Ok(())
    }
}
