//! A limiter as its service sees it, and the front of its queue, which sleeps until there is room
//! for it, or until its time is over.

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use tokio::time::Instant;

use super::wait_queue::{Expiry, Patience, Waiter, before};
use crate::{error::Rejected, limit::cost::Cost};

/// The key that a request counts for.
#[cfg(feature = "per-key")]
pub(crate) use crate::limit::key::ClientKey as LimitKey;
/// No limit has keys without the feature.
#[cfg(not(feature = "per-key"))]
pub(crate) type LimitKey = std::convert::Infallible;

/// Waits to be next in the queue and for the limit to have room. It takes nothing yet.
pub(crate) type Waiting<G> =
    Pin<Box<dyn Future<Output = Result<Front<G>, Rejected>> + Send + Sync>>;

/// A limiter as its service sees it.
///
/// A request that waits takes nothing before the instant of its call, so one that leaves the queue
/// has nothing to give back, unless the limiter [reserves](Self::RESERVES).
pub trait Limiter: Clone + Send + Sync + 'static {
    /// What a request asks for.
    type Ask: Clone + Debug + Send + Sync + 'static;

    /// What an admitted request holds.
    type Pass: Send + Sync + 'static;

    /// Whether the front of the queue takes as soon as there is room, and leaves the queue. Others
    /// then wait for the inner service at the same time. What it takes is given back if it is
    /// dropped, at a time that is not known, so no timer is late for those behind it.
    const RESERVES: bool = false;

    /// Admits a request at once, if no other waits and it fits. Otherwise the rejection has the
    /// time until it does. A shadow has to know how long the request may wait.
    fn enter(&self, ask: &Self::Ask, max_wait: Duration) -> Result<Self::Pass, Rejected>;

    /// Joins the queue after a rejection by `enter`.
    fn join(&self, ask: &Self::Ask, patience: Patience) -> Result<Waiter, Rejected>;

    /// Whether there is room for the front of the queue, and if not, for how long.
    fn look(&self, ask: &Self::Ask) -> Result<(), Rejected>;

    /// Takes what the front asks for, if there is room.
    fn take_in_turn(&self, ask: &Self::Ask) -> Option<Self::Pass>;

    /// Returns the rejection of a front that was not called in time although there was room.
    fn late(&self, ask: &Self::Ask) -> Rejected;

    /// Starts a request whose pass was reserved.
    fn start(_: &mut Self::Pass) {}

    /// Hears that a request has left the queue.
    fn left(&self, _: &Self::Ask) {}

    /// The key that the request counts for, in a limit per key.
    fn key(_: &Self::Ask) -> Option<LimitKey> {
        None
    }

    /// The rejection of a request that passes all the same, as the limit is a shadow.
    #[inline]
    fn shadowed(_: &Self::Pass) -> Option<&Rejected> {
        None
    }

    /// Counts that a request is rejected for good. It may pass all the same.
    fn refuse(&self, _: &Self::Ask, _: &Rejected) -> Option<Self::Pass> {
        None
    }

    /// Waits in the queue after a rejection by `enter`, if that is in time.
    fn wait(
        &self,
        ask: Self::Ask,
        rejected: Rejected,
        max_wait: Duration,
        max_waiting: usize,
    ) -> Result<Waiting<Self>, Rejected> {
        let rejected = rejected.within(max_wait);
        let is_too_long = max_wait.is_zero() || rejected.retry_after() > Some(max_wait);
        if is_too_long || rejected.is_final() {
            drop(self.refuse(&ask, &rejected));
            return Err(rejected);
        }
        let patience = Patience {
            rejected,
            max_wait,
            max_waiting,
        };
        let place = self.join(&ask, patience);
        Front::wait(self, ask, place)
    }
}

/// A request in the queue.
#[allow(
    missing_debug_implementations,
    reason = "it can't be named outside this crate"
)]
pub struct Front<G: Limiter> {
    /// Dropped before the next, so that the queue is seen without it.
    place: Waiter,
    demand: Demand<G>,
    /// It was reserved; or it was rejected, and passes all the same.
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
            let last = match G::RESERVES {
                true => front.place.deadline(),
                false => front.place.last_instant(),
            };
            match before(last, front.place.reach_head()).await {
                Some(true) => front.until_due().await,
                Some(false) | None => front.expire(),
            }
        }))
    }

    async fn until_due(mut self) -> Result<Self, Rejected> {
        loop {
            if self.place.is_closed() {
                return self.expire();
            }
            let looked = self.demand.gate.look(&self.demand.ask);
            let (now, deadline) = (Instant::now(), self.place.deadline());
            let last = self.place.last_instant();
            let rejected = match looked {
                Ok(()) if last.is_none_or(|last| now <= last) => {
                    if !G::RESERVES || self.reserve() {
                        return Ok(self);
                    }
                    continue;
                }
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

    /// Takes, and leaves the queue.
    fn reserve(&mut self) -> bool {
        let Demand { gate, ask } = &self.demand;
        self.pass = gate.take_in_turn(ask);
        if self.pass.is_some() {
            self.place.leave();
            gate.left(ask);
        }
        self.pass.is_some()
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
        if self.pass.is_some() && !G::RESERVES {
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
            Some(_) if G::RESERVES && self.place.is_closed() => {
                Err(Box::pin(async { self.expire() }))
            }
            Some(mut pass) => {
                G::start(&mut pass);
                Ok(pass)
            }
            None => self.take_by(G::take_in_turn),
        }
    }
}

/// Waits in the queue of a limiter without a service, and takes what is asked for.
pub(crate) async fn acquire<G: Limiter>(
    gate: &G,
    ask: G::Ask,
    max_wait: Duration,
) -> Result<G::Pass, Rejected> {
    let entered = gate.enter(&ask, max_wait);
    acquire_by(gate, ask, max_wait, entered, Front::take).await
}

/// The same with the result of entering, and with what takes in turn.
pub(super) async fn acquire_by<G: Limiter, P>(
    gate: &G,
    ask: G::Ask,
    max_wait: Duration,
    entered: Result<P, Rejected>,
    take: impl Fn(Front<G>) -> Result<P, Waiting<G>>,
) -> Result<P, Rejected> {
    let rejected = match entered {
        Ok(pass) => return Ok(pass),
        Err(rejected) => rejected,
    };
    let mut waiting = gate.wait(ask, rejected, max_wait, usize::MAX)?;
    loop {
        match take(waiting.await?) {
            Ok(pass) => return Ok(pass),
            Err(again) => waiting = again,
        }
    }
}

/// Returns what a request asks of a limiter.
pub(crate) trait Measure<Request, Ask> {
    /// Returns what `request` asks for.
    fn measure(&self, request: &Request) -> Ask;
}

/// A cost in units.
impl<C, Request> Measure<Request, u64> for C
where
    C: Cost<Request>,
{
    #[inline]
    fn measure(&self, request: &Request) -> u64 {
        self.cost(request)
    }
}
