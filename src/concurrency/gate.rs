//! The slots as the service sees them.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Permit, Priority, queue, slots::Slots};
use crate::{
    Limit, Reason, Rejected,
    limit::{Entry, Gate, Waiting},
};

#[cold]
fn full(limit: usize) -> Entry<Permit> {
    if limit > 0 {
        return Entry::Wait(None);
    }
    let (cost, capacity) = (1, 0);
    let reason = Reason::NeverFits { cost, capacity };
    Entry::Never(Rejected::new(Limit::Concurrency, reason, None))
}

impl Gate for Arc<Slots> {
    type Ask = Priority;
    type Pass = Permit;
    type Turn = Permit;

    #[inline]
    fn enter(&self, priority: &Priority) -> Entry<Permit> {
        let taken = match priority {
            Priority::High => self.take(),
            Priority::Critical => Some(self.take_over()),
            Priority::Normal | Priority::Low => self.take_behind(*priority),
        };
        match taken {
            Some(permit) => Entry::Pass(permit),
            None => full(self.limit()),
        }
    }

    fn wait(
        &self,
        priority: Priority,
        expected: Option<Duration>,
        default_max_wait: Duration,
    ) -> Result<Waiting<Permit>, Rejected> {
        queue::join(self, priority, expected, default_max_wait)
    }

    /// A slot is kept from nobody but by the limit itself.
    fn deadline(_: &Permit) -> Option<(Instant, Rejected)> {
        None
    }

    fn take(mut turn: Permit) -> Result<Permit, Waiting<Permit>> {
        turn.start();
        Ok(turn)
    }
}
