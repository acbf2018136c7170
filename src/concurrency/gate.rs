//! The slots as the service sees them.

use std::{sync::Arc, time::Duration};

use super::{Permit, Priority, queue, slots::Slots};
use crate::{
    Limit, Rejected,
    limit::{Bounds, Gate, Patience, Place, Turn, Waiting},
};

impl Slots {
    #[cold]
    fn full(&self) -> Rejected {
        match self.limit() {
            0 => Rejected::never(Limit::Concurrency, 1, 0),
            _ => Rejected::too_long(Limit::Concurrency, Duration::ZERO, None),
        }
    }
}

impl Gate for Arc<Slots> {
    type Ask = Priority;
    type Pass = Permit;
    type Turn = Permit;

    fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    #[inline]
    fn enter(&self, priority: &Priority) -> Result<Permit, Rejected> {
        let taken = match priority {
            Priority::High => self.take(),
            Priority::Critical => Some(self.take_over()),
            Priority::Normal | Priority::Low => self.take_behind(*priority),
        };
        taken.ok_or_else(|| self.full())
    }

    fn join(&self, priority: Priority, patience: Patience) -> Result<Waiting<Permit>, Rejected> {
        let place = Place::join(self.lane(priority).clone(), 1, patience)?;
        Ok(Box::pin(queue::slot(self.clone(), place, priority)))
    }
}

/// A slot is kept from nobody but by the limit itself.
impl Turn<Permit> for Permit {
    fn take(mut self) -> Result<Permit, Waiting<Permit>> {
        self.start();
        Ok(self)
    }
}
