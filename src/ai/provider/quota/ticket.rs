//! What an admitted request has taken.

use super::{
    MOST_METERS,
    meter::{Mark, Meter},
};
use crate::ai::tokens::Tokens;

/// An admitted request.
#[derive(Debug)]
pub(crate) struct QuotaTicket {
    pub(super) at: u64,
    pub(super) tokens: Tokens,
    /// The mark of each limit for its response; unused if learning is off.
    pub(super) marks: [Mark; MOST_METERS],
    /// The number of limits at that time.
    pub(super) known: u8,
    /// Whether its response is learned from.
    pub(crate) learns: bool,
}

// ===== impl QuotaTicket =====

impl QuotaTicket {
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
