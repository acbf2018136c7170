//! A limiter as its service sees it.

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use super::{
    front::Front,
    wait_queue::{Patience, Waiter},
};
use crate::{
    error::Rejected,
    limit::{clock::TIMER_LATENESS, cost::Cost},
};

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
/// has nothing to give back.
pub trait Limiter: Clone + Send + Sync + 'static {
    /// What a request asks for.
    type Ask: Clone + Debug + Send + Sync + 'static;

    /// What an admitted request holds.
    type Pass: Send + Sync + 'static;

    /// How much longer than its maximum wait a request may wait behind others.
    const LATENESS: Duration = TIMER_LATENESS;

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
