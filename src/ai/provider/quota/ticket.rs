//! What an admitted request has taken.

use super::meter::Meter;
use crate::ai::tokens::Tokens;
#[cfg(feature = "redis")]
use crate::limit::store::link::Marks;

/// An admitted request.
#[derive(Debug)]
pub(crate) struct QuotaTicket {
    pub(crate) at: u64,
    pub(super) tokens: Tokens,
    /// Where its marks are, if its response is learned from.
    pub(super) marks: Option<usize>,
    /// The number of limits at that time.
    pub(super) known: u8,
    /// What it has taken in a store.
    #[cfg(feature = "redis")]
    pub(crate) stored: Option<Marks>,
}

// ===== impl QuotaTicket =====

impl QuotaTicket {
    /// Returns whether its response is learned from.
    pub(crate) fn learns(&self) -> bool {
        self.marks.is_some()
    }

    /// Returns the limits that it took from, each with the units.
    pub(super) fn of<'a>(
        &'a self,
        meters: &'a mut [Meter],
    ) -> impl Iterator<Item = (&'a mut Meter, u64)> {
        let meters = meters.iter_mut().take(self.known.into());
        meters.map(|meter| {
            let cost = meter.cost(self.tokens);
            (meter, cost)
        })
    }
}
