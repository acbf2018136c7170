//! The front of a queue: sleeps until there is room for it, or until its time is over.

use tokio::time::Instant;

use super::{
    limiter::{Limiter, Turn, Waiting},
    wait_queue::{Expiry, Waiter, before},
};
use crate::error::Rejected;

/// A gate that takes nothing for the front of its queue before the instant of the call.
pub trait Schedule: Limiter + Send + Sync + 'static {
    /// Whether there is room for the front, and if not, for how long.
    fn look(&self, ask: &Self::Ask) -> Result<(), Rejected>;

    /// Takes what the front asks for, if there is room.
    fn take_in_turn(&self, ask: &Self::Ask) -> Option<Self::Pass>;

    /// Returns the rejection of a front that was not called in time although there was room.
    fn late(&self, ask: &Self::Ask) -> Rejected;

    /// Hears that a request has left the queue.
    fn left(&self, _: &Self::Ask) {}
}

/// A request in the queue.
#[allow(
    missing_debug_implementations,
    reason = "it can't be named outside this crate"
)]
pub struct Front<G: Schedule> {
    /// Dropped before the next, so that the queue is seen without it.
    place: Waiter,
    demand: Demand<G>,
    /// It was rejected, and passes all the same.
    pass: Option<G::Pass>,
}

/// What a request asks for, and of which gate.
struct Demand<G: Schedule> {
    gate: G,
    ask: G::Ask,
}

impl<G: Schedule> Drop for Demand<G> {
    fn drop(&mut self) {
        self.gate.left(&self.ask);
    }
}

// ===== impl Front =====

impl<G: Schedule> Front<G>
where
    G::Pass: Send + Sync + 'static,
{
    /// Waits with a place in the queue, or hears that there is none.
    pub(crate) fn wait(
        gate: &G,
        ask: G::Ask,
        place: Result<Waiter, Rejected>,
    ) -> Result<Waiting<Self>, Rejected> {
        let place = place.inspect_err(|rejected| drop(gate.refuse(&ask, rejected)))?;
        let gate = gate.clone();
        let mut front = Self {
            place,
            demand: Demand { gate, ask },
            pass: None,
        };
        Ok(Box::pin(async move {
            let last = front.place.last_instant();
            match before(last, front.place.reach_head()).await {
                Some(true) => front.until_due().await,
                Some(false) | None => front.expire(),
            }
        }))
    }

    async fn until_due(self) -> Result<Self, Rejected> {
        loop {
            if self.place.is_closed() {
                return self.expire();
            }
            let looked = self.demand.gate.look(&self.demand.ask);
            let (now, deadline) = (Instant::now(), self.place.deadline());
            let last = self.place.last_instant();
            let rejected = match looked {
                Ok(()) if last.is_none_or(|last| now <= last) => return Ok(self),
                Ok(()) => self.demand.gate.late(&self.demand.ask),
                Err(rejected) => rejected,
            };
            let (due, last) = match rejected.retry_after() {
                Some(wait) => (now.checked_add(wait), last),
                // What comes free as the time ends is taken, so no timer is late for it.
                None => (deadline.filter(|deadline| *deadline > now), deadline),
            };
            let is_in_time = last.is_none_or(|last| due.is_some_and(|due| due <= last));
            if rejected.is_final() || !is_in_time {
                return self.reject(rejected);
            }
            self.place.changed_before(due).await;
        }
    }

    /// Rejects a request if the queue is closed, or if its time is over behind others.
    fn expire(self) -> Result<Self, Rejected> {
        let Demand { gate, ask } = &self.demand;
        let rejected = match self.place.is_closed() {
            true => gate.late(ask).closed(),
            false => gate.look(ask).err().unwrap_or_else(|| gate.late(ask)),
        };
        self.reject(rejected)
    }

    fn reject(mut self, rejected: Rejected) -> Result<Self, Rejected> {
        let rejected = rejected.within(self.place.max_wait());
        self.pass = self.refuse(&rejected);
        self.pass.is_some().then_some(self).ok_or(rejected)
    }

    /// Takes by `take`. If the room is gone, waits for it again without losing the turn.
    pub(super) fn take_by<P>(
        self,
        take: impl FnOnce(&G, &G::Ask) -> Option<P>,
    ) -> Result<P, Waiting<Self>> {
        let Demand { gate, ask } = &self.demand;
        let taken = (!self.place.is_closed()).then(|| take(gate, ask));
        // Without it the place, and with it the turn, is kept.
        taken
            .flatten()
            .ok_or_else(|| Box::pin(self.until_due()) as Waiting<Self>)
    }

    fn refuse(&self, rejected: &Rejected) -> Option<G::Pass> {
        self.demand.gate.refuse(&self.demand.ask, rejected)
    }
}

impl<G: Schedule> Turn<G::Pass> for Front<G>
where
    G::Pass: Send + Sync + 'static,
{
    fn expiry(&self) -> Expiry {
        if self.pass.is_some() {
            return Box::pin(std::future::pending());
        }
        let late = self.demand.gate.late(&self.demand.ask);
        self.place.expiry(late)
    }

    fn expired(&self, rejected: &Rejected) {
        drop(self.refuse(rejected));
    }

    fn take(mut self) -> Result<G::Pass, Waiting<Self>> {
        match self.pass.take() {
            Some(pass) => Ok(pass),
            None => self.take_by(G::take_in_turn),
        }
    }
}
