//! The slots as the service uses them.

use std::{sync::Arc, time::Duration};

use super::{Permit, Priority, hold::report, slots::Slots};
use crate::{
    error::{BoxError, LimitKind, Outcome, Rejected},
    limit::engine::{Limiter, Patience, Waiter},
};

#[cold]
fn full(slots: &Slots) -> Rejected {
    #[cfg(feature = "redis")]
    if let Some(lease) = slots.lease() {
        lease.want();
    }
    match slots.total() {
        _ if slots.is_closed() => late().closed(),
        0 => Rejected::never(LimitKind::Concurrency, 1, 0),
        _ => late(),
    }
}

fn late() -> Rejected {
    Rejected::too_long(LimitKind::Concurrency, Duration::ZERO, None)
}

impl Limiter for Arc<Slots> {
    type Ask = Priority;
    type Pass = Permit;

    const RESERVES: bool = true;

    #[inline]
    fn enter(&self, priority: &Priority, _: Duration) -> Result<Permit, Rejected> {
        self.take(*priority).ok_or_else(|| full(self))
    }

    #[cfg(feature = "redis")]
    fn reply_time(&self, rejected: &Rejected) -> Duration {
        let lease = self.lease().filter(|_| !rejected.is_final());
        lease.map_or(Duration::ZERO, |lease| lease.reply_time())
    }

    fn join(&self, priority: &Priority, patience: Patience) -> Result<Waiter, Rejected> {
        let waiter = Waiter::join(self.lane(*priority).clone(), 1, patience)?;
        // Now it is seen as waiting.
        #[cfg(feature = "redis")]
        if let Some(lease) = self.lease() {
            lease.want();
        }
        Ok(waiter)
    }

    fn look(&self, priority: &Priority) -> Result<(), Rejected> {
        self.has_room(*priority).then_some(()).ok_or_else(late)
    }

    fn take_in_turn(&self, priority: &Priority) -> Option<Permit> {
        self.take_share(*priority).map(Permit::bare)
    }

    fn late(&self, _: &Priority) -> Rejected {
        late()
    }

    fn start(permit: &mut Permit) {
        permit.start();
    }

    #[cold]
    fn failed(error: Option<&BoxError>, mut permit: Permit) {
        report(error.and_then(Outcome::of_error), &mut permit);
    }

    fn left(&self, _: &Priority, _: Priority) {
        self.wake();
    }
}
