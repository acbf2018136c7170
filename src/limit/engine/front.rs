//! The front of a queue: sleeps until there is room for it, or until its time is over.

use tokio::time::Instant;

use super::{
    limiter::{Limiter, Waiting},
    wait_queue::{Expiry, Waiter, before},
};
use crate::error::Rejected;

/// A request in the queue.
#[allow(
    missing_debug_implementations,
    reason = "it can't be named outside this crate"
)]
pub struct Front<G: Limiter> {
    /// Dropped before the next, so that the queue is seen without it.
    place: Waiter,
    demand: Demand<G>,
    /// It was rejected, and passes all the same.
    pass: Option<G::Pass>,
}

/// What a request asks for, and of which gate.
struct Demand<G: Limiter> {
    gate: G,
    ask: G::Ask,
}

impl<G: Limiter> Drop for Demand<G> {
    fn drop(&mut self) {
        self.gate.left(&self.ask);
    }
}

// ===== impl Front =====

impl<G: Limiter> Front<G> {
    /// Waits with a place in the queue, or hears that there is none.
    pub(super) fn wait(
        gate: &G,
        ask: G::Ask,
        place: Result<Waiter, Rejected>,
    ) -> Result<Waiting<G>, Rejected> {
        let place = place.inspect_err(|rejected| drop(gate.refuse(&ask, rejected)))?;
        let gate = gate.clone();
        let mut front = Self {
            place,
            demand: Demand { gate, ask },
            pass: None,
        };
        Ok(Box::pin(async move {
            let last = front.place.deadline();
            let last = last.and_then(|deadline| deadline.checked_add(G::LATENESS));
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

    /// Takes by `take`, otherwise like [`take`](Self::take).
    pub(super) fn take_by<P>(
        self,
        take: impl FnOnce(&G, &G::Ask) -> Option<P>,
    ) -> Result<P, Waiting<G>> {
        let Demand { gate, ask } = &self.demand;
        let taken = (!self.place.is_closed()).then(|| take(gate, ask));
        // Without it the place, and with it the turn, is kept.
        taken
            .flatten()
            .ok_or_else(|| Box::pin(self.until_due()) as Waiting<G>)
    }

    fn refuse(&self, rejected: &Rejected) -> Option<G::Pass> {
        self.demand.gate.refuse(&self.demand.ask, rejected)
    }

    /// Returns the rejection of a request that keeps its turn for too long, or past the end of its
    /// limiter.
    pub(super) fn expiry(&self) -> Expiry {
        if self.pass.is_some() {
            return Box::pin(std::future::pending());
        }
        let late = self.demand.gate.late(&self.demand.ask);
        self.place.expiry(late)
    }

    /// Handles a turn that has expired: the request is rejected.
    pub(super) fn expired(&self, rejected: &Rejected) {
        drop(self.refuse(rejected));
    }

    /// Takes what the turn is for. If the room is gone, waits for it again without losing the turn.
    pub(super) fn take(mut self) -> Result<G::Pass, Waiting<G>> {
        match self.pass.take() {
            Some(pass) => Ok(pass),
            None => self.take_by(G::take_in_turn),
        }
    }
}
