//! A limiter as its service sees it, and the front of its queue, which sleeps until there is room
//! for it, or until its time is over.

use std::{fmt::Debug, pin::Pin, time::Duration};

use tokio::time::Instant;

use super::wait_queue::{Expiry, Patience, Waiter, before};
use crate::{
    error::{BoxError, Rejected},
    limit::{
        cost::Cost,
        priority::{Prioritize, Priority},
    },
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

    /// Returns the rejection of a request that was rejected by `enter`, if only the requests ahead
    /// of its priority count. `None` if all are, or if that is not known.
    fn behind(&self, _: &Self::Ask, _: Priority) -> Option<Rejected> {
        None
    }

    /// Returns how long a request may wait beside its maximum wait for the reply of a store, which
    /// says whether it has to wait.
    fn reply_time(&self, _: &Rejected) -> Duration {
        Duration::ZERO
    }

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

    /// Ends a call that failed, with its error if that is known.
    fn failed(_: Option<&BoxError>, _: Self::Pass) {}

    /// Hears that a request has left the queue, and with which priority.
    fn left(&self, _: &Self::Ask, _: Priority) {}

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
        priority: Priority,
        rejected: Rejected,
        max_wait: Duration,
        max_waiting: usize,
    ) -> Result<Waiting<Self>, Rejected> {
        let mut rejected = rejected.within(max_wait);
        let reply_time = self.reply_time(&rejected);
        let may_wait = max_wait.saturating_add(reply_time);
        if rejected.retry_after() > Some(max_wait) {
            if let Some(behind) = self.behind(&ask, priority) {
                rejected = behind.within(max_wait);
            }
        }
        let is_too_long = may_wait.is_zero() || rejected.retry_after() > Some(max_wait);
        if is_too_long || rejected.is_final() {
            drop(self.refuse(&ask, &rejected));
            return Err(rejected);
        }
        let patience = Patience {
            rejected,
            max_wait,
            reply_time,
            // A request that only asks does not wait.
            max_waiting: match max_wait.is_zero() {
                true => usize::MAX,
                false => max_waiting.max(usize::from(!reply_time.is_zero())),
            },
            priority,
        };
        let place = self.join(&ask, patience);
        let place = place.inspect_err(|rejected| drop(self.refuse(&ask, rejected)))?;
        let mut front = Front {
            place,
            gate: self.clone(),
            ask,
            pass: None,
        };
        Ok(Box::pin(async move {
            let last = match Self::RESERVES {
                true => front.place.reply_deadline(),
                false => front.place.last_reply(),
            };
            match before(last, front.place.reach_head()).await {
                Some(true) => front.until_due().await,
                Some(false) | None => front.expire(),
            }
        }))
    }
}

/// A request in the queue.
pub struct Front<G: Limiter> {
    place: Waiter,
    gate: G,
    ask: G::Ask,
    /// It was reserved; or it was rejected, and passes all the same.
    pass: Option<G::Pass>,
}

// ===== impl Front =====

impl<G: Limiter> Front<G> {
    async fn until_due(mut self) -> Result<Self, Rejected> {
        loop {
            if self.place.is_closed() {
                return self.expire();
            }
            let looked = self.gate.look(&self.ask);
            let (now, deadline) = (Instant::now(), self.place.deadline);
            let last = self.place.last_instant();
            let rejected = match looked {
                Ok(()) if self.place.last_reply().is_none_or(|last| now <= last) => {
                    if !G::RESERVES || self.reserve() {
                        return Ok(self);
                    }
                    continue;
                }
                Ok(()) => self.gate.late(&self.ask),
                Err(rejected) => rejected,
            };
            let (due, last) = match rejected.retry_after() {
                Some(wait) => (now.checked_add(wait), last),
                // What comes free as the time ends is taken, so no timer is late for it.
                None => {
                    let deadline = match self.gate.reply_time(&rejected) {
                        Duration::ZERO => deadline,
                        _ => self.place.reply_deadline(),
                    };
                    (deadline.filter(|deadline| *deadline > now), deadline)
                }
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
        self.pass = self.gate.take_in_turn(&self.ask);
        if self.pass.is_some() {
            self.leave();
        }
        self.pass.is_some()
    }

    /// Leaves the queue, and then tells the gate, which so sees the queue without it.
    fn leave(&mut self) {
        if self.place.leave() {
            self.gate.left(&self.ask, self.place.priority);
        }
    }

    /// Rejects a request if the queue is closed, or if its time is over behind others.
    fn expire(self) -> Result<Self, Rejected> {
        let late = || self.gate.late(&self.ask);
        let rejected = match self.place.is_closed() {
            true => late().closed(),
            false => self.gate.look(&self.ask).err().unwrap_or_else(late),
        };
        self.reject(rejected)
    }

    fn reject(mut self, rejected: Rejected) -> Result<Self, Rejected> {
        let rejected = rejected.within(self.place.max_wait);
        self.pass = self.refuse(&rejected);
        self.leave();
        self.pass.is_some().then_some(self).ok_or(rejected)
    }

    /// Takes by `take`, otherwise like [`take`](Self::take).
    pub(super) fn take_by<P>(
        self,
        take: impl FnOnce(&G, &G::Ask) -> Option<P>,
    ) -> Result<P, Waiting<G>> {
        let taken = (!self.place.is_closed()).then(|| take(&self.gate, &self.ask));
        // Without it the place, and with it the turn, is kept.
        let taken = taken.flatten();
        taken.ok_or_else(|| Box::pin(self.until_due()) as Waiting<G>)
    }

    /// Counts that the request is rejected. It may pass all the same.
    pub(super) fn refuse(&self, rejected: &Rejected) -> Option<G::Pass> {
        self.gate.refuse(&self.ask, rejected)
    }

    /// Returns the rejection of a request that keeps its turn for too long, or past the end of its
    /// limiter.
    pub(super) fn expiry(&self) -> Expiry {
        if self.pass.is_some() && !G::RESERVES {
            return Box::pin(std::future::pending());
        }
        let late = self.gate.late(&self.ask);
        self.place.expiry(late)
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

crate::macros::debug!(impl<G: Limiter> Debug for Front<G> |self| { place, ask, .. });

impl<G: Limiter> Drop for Front<G> {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Waits in the queue of a limiter without a service, and takes what is asked for.
pub(crate) async fn acquire<G: Limiter>(
    gate: &G,
    ask: G::Ask,
    priority: Priority,
    max_wait: Duration,
) -> Result<G::Pass, Rejected> {
    let entered = gate.enter(&ask, max_wait);
    acquire_by(gate, ask, priority, max_wait, entered, Front::take).await
}

/// The same with the result of entering, and with what takes in turn.
pub(super) async fn acquire_by<G: Limiter, P>(
    gate: &G,
    ask: G::Ask,
    priority: Priority,
    max_wait: Duration,
    entered: Result<P, Rejected>,
    take: impl Fn(Front<G>) -> Result<P, Waiting<G>>,
) -> Result<P, Rejected> {
    let rejected = match entered {
        Ok(pass) => return Ok(pass),
        Err(rejected) => rejected,
    };
    let mut waiting = gate.wait(ask, priority, rejected, max_wait, usize::MAX)?;
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

    /// Returns the priority of a request that waits.
    #[inline]
    fn priority(&self, _: &Request) -> Priority {
        Priority::High
    }
}

/// Measures a request by `A`, with a priority.
#[cfg_attr(not(feature = "per-key"), allow(unreachable_pub))]
#[derive(Debug, Clone, Copy)]
pub struct Prioritized<A, P> {
    pub(crate) ask: A,
    pub(crate) priority: P,
}

impl<C, P, Request> Measure<Request, u64> for Prioritized<C, P>
where
    C: Cost<Request>,
    P: Prioritize<Request>,
{
    #[inline]
    fn measure(&self, request: &Request) -> u64 {
        self.ask.cost(request)
    }

    fn priority(&self, request: &Request) -> Priority {
        self.priority.priority(request)
    }
}

#[cfg(all(test, not(throttle_loom)))]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::{error::LimitKind, limit::engine::WaitQueue};

    /// Has room for the head of its queue, and counts how often a request has left.
    #[derive(Clone)]
    struct Counting {
        queue: Arc<WaitQueue>,
        lefts: Arc<AtomicUsize>,
    }

    impl Limiter for Counting {
        type Ask = ();
        type Pass = ();

        const RESERVES: bool = true;

        fn enter(&self, (): &(), _: Duration) -> Result<(), Rejected> {
            Err(self.late(&()))
        }

        fn join(&self, (): &(), patience: Patience) -> Result<Waiter, Rejected> {
            Waiter::join(self.queue.clone(), 1, patience)
        }

        fn look(&self, (): &()) -> Result<(), Rejected> {
            Ok(())
        }

        fn take_in_turn(&self, (): &()) -> Option<()> {
            Some(())
        }

        fn late(&self, (): &()) -> Rejected {
            Rejected::too_long(LimitKind::Concurrency, None)
        }

        fn left(&self, (): &(), _: Priority) {
            assert_eq!(self.queue.waiting(), 0, "it hears after the queue is left");
            self.lefts.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_queued_request_leaves_once() {
        let queue = Arc::new(WaitQueue::new(None));
        let lefts = Arc::default();
        let gate = Counting { queue, lefts };
        let high = Priority::High;
        acquire(&gate, (), high, Duration::MAX).await.unwrap();
        assert_eq!(gate.lefts.load(Ordering::Relaxed), 1);
        // Dropped with its reservation, and before it has one.
        let rejected = gate.late(&());
        let waiting = gate.wait((), high, rejected, Duration::MAX, 9).unwrap();
        drop(waiting.await);
        assert_eq!(gate.lefts.load(Ordering::Relaxed), 2);
        let rejected = gate.late(&());
        drop(gate.wait((), high, rejected, Duration::MAX, 9).unwrap());
        assert_eq!(gate.lefts.load(Ordering::Relaxed), 3);
    }
}
