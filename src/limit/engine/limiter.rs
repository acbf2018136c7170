//! A limiter as its service sees it.

use std::{fmt::Debug, future::Future, pin::Pin, time::Duration};

use super::wait_queue::{Expiry, Patience};
use crate::{error::Rejected, limit::cost::Cost};

/// The key that a request counts for.
#[cfg(feature = "per-key")]
pub(crate) use crate::limit::key::ClientKey as LimitKey;
/// No limit has keys without the feature.
#[cfg(not(feature = "per-key"))]
pub(crate) type LimitKey = std::convert::Infallible;

/// Waits to be next in the queue and for the limit to have room. It takes nothing yet.
pub(crate) type Waiting<T> = Pin<Box<dyn Future<Output = Result<T, Rejected>> + Send + Sync>>;

/// A limiter as its service sees it.
///
/// A request that waits takes nothing before the instant of its call, so one that leaves the queue
/// has nothing to give back.
pub trait Limiter: Clone {
    /// What a request asks for.
    type Ask: Clone + Debug + Send + Sync + 'static;

    /// What an admitted request holds.
    type Pass;

    /// What the head of the queue holds once there is room for it.
    type Turn: Turn<Self::Pass>;

    /// Admits a request at once, if no other waits and it fits. Otherwise the rejection has the
    /// time until it does. A shadow has to know how long the request may wait.
    fn enter(&self, ask: &Self::Ask, max_wait: Duration) -> Result<Self::Pass, Rejected>;

    /// Joins the queue after a rejection by `enter`.
    fn join(&self, ask: Self::Ask, patience: Patience) -> Result<Waiting<Self::Turn>, Rejected>;

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
    ) -> Result<Waiting<Self::Turn>, Rejected> {
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
        self.join(ask, patience)
    }
}

/// The turn of a request in the queue, once there is room for it.
pub trait Turn<P>: Sized {
    /// Returns the rejection of a request that keeps its turn for too long, or past the end of its
    /// limiter.
    fn expiry(&self) -> Expiry;

    /// Handles a turn that has expired: the request is rejected.
    fn expired(&self, _: &Rejected) {}

    /// Takes what the turn is for. If the room is gone, waits for it again without losing the turn.
    fn take(self) -> Result<P, Waiting<Self>>;
}

/// Waits in the queue of a limiter without a service, and takes what is asked for.
pub(crate) async fn acquire<G: Limiter>(
    gate: &G,
    ask: G::Ask,
    max_wait: Duration,
) -> Result<G::Pass, Rejected> {
    let entered = gate.enter(&ask, max_wait);
    acquire_by(gate, ask, max_wait, entered, Turn::take).await
}

/// The same with the result of entering, and with what takes in turn.
pub(super) async fn acquire_by<G: Limiter, P>(
    gate: &G,
    ask: G::Ask,
    max_wait: Duration,
    entered: Result<P, Rejected>,
    take: impl Fn(G::Turn) -> Result<P, Waiting<G::Turn>>,
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
