//! What an admitted request has taken.

use super::{MOST_METERS, meter::Meter};
use crate::ai::tokens::Tokens;

/// An admitted request.
#[derive(Debug)]
pub(crate) struct QuotaTicket {
    pub(super) at: u64,
    pub(super) tokens: Tokens,
    /// Of each limit, what its answer will be held against; zero if nothing is learned.
    pub(super) marks: [u64; MOST_METERS],
    /// How many limits there were.
    pub(super) known: u8,
    /// Whether what its answer says is heard.
    pub(crate) learns: bool,
}

// ===== impl QuotaTicket =====

impl QuotaTicket {
    /// The limits that it took from, with what it took.
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
