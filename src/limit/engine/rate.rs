//! A limit on a rate: an algorithm, a clock, and the queue in front of them.

use std::{sync::Arc, time::Duration};

use super::{
    front::{Front, Schedule},
    limiter::{Limiter, Waiting},
    wait_queue::{Patience, WaitQueue, Waiter},
};
use crate::{
    error::{LimitKind, Rejected},
    limit::{algorithm::Algorithm, clock::Clock, decision::Decision, quota::Quota},
};

/// The state that all handles of one limiter share.
#[derive(Debug)]
pub struct RateLimiter<A> {
    algorithm: A,
    pub(crate) clock: Clock,
    pub(crate) wait_queue: Arc<WaitQueue>,
    pub(crate) quota: Quota,
    limit: LimitKind,
}

// ===== impl RateLimiter =====

impl<A: Algorithm> RateLimiter<A> {
    pub(crate) fn new(algorithm: A, quota: Quota, clock: Clock, limit: LimitKind) -> Self {
        Self {
            algorithm,
            clock,
            wait_queue: Arc::new(WaitQueue::new(None)),
            quota,
            limit,
        }
    }

    #[inline]
    pub(crate) fn decide(&self, cost: u64) -> Decision {
        if cost == 0 {
            return Decision::Admit;
        }
        if cost > self.algorithm.capacity() {
            return Decision::Never;
        }
        let now = self.clock.now();
        if self.wait_queue.waiting() > 0 {
            return self.behind_the_queue(cost, now);
        }
        self.algorithm.take(cost, now)
    }

    #[cold]
    fn behind_the_queue(&self, cost: u64, now: u64) -> Decision {
        let units = self.wait_queue.units().saturating_add(cost);
        // Never zero: there is somebody ahead.
        let wait = self.algorithm.wait(units, now).max(1);
        Decision::after(wait)
    }
}

impl<A> Limiter for Arc<RateLimiter<A>>
where
    A: Algorithm + Send + Sync + 'static,
{
    type Ask = u64;
    type Pass = ();
    type Turn = Front<Self>;

    #[inline]
    fn enter(&self, cost: &u64, _: Duration) -> Result<(), Rejected> {
        self.decide(*cost)
            .or_reject(self.limit, *cost, self.algorithm.capacity())
    }

    fn join(&self, cost: u64, patience: Patience) -> Result<Waiting<Self::Turn>, Rejected> {
        Front::wait(
            self,
            cost,
            Waiter::join(self.wait_queue.clone(), cost, patience),
        )
    }
}

impl<A> Schedule for Arc<RateLimiter<A>>
where
    A: Algorithm + Send + Sync + 'static,
{
    fn look(&self, cost: &u64) -> Result<(), Rejected> {
        let due_in = self.algorithm.due_in(*cost, self.clock.now());
        Decision::after(due_in).or_reject(self.limit, *cost, self.algorithm.capacity())
    }

    fn take_in_turn(&self, cost: &u64) -> Option<()> {
        let taken = self.algorithm.take_in_turn(*cost, self.clock.now());
        taken.is_admit().then_some(())
    }

    fn late(&self, _: &u64) -> Rejected {
        Rejected::too_long(self.limit, Duration::ZERO, Some(Duration::ZERO))
    }
}
