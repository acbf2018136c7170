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

    /// Takes `cost` units now, or returns the rejection of a request that does not wait.
    #[inline]
    pub(crate) fn take(&self, cost: u64) -> Result<(), Rejected> {
        if !self.wait_queue.is_idle() {
            return self.take_behind(cost);
        }
        if cost == 0 {
            return Ok(());
        }
        self.or_reject(self.algorithm.take(cost, self.clock.now()), cost)
    }

    /// The same if others wait, or if the limiter is closed.
    #[cold]
    fn take_behind(&self, cost: u64) -> Result<(), Rejected> {
        if self.wait_queue.is_closed() {
            return Err(Rejected::too_long(self.limit, Duration::ZERO, None).closed());
        }
        let decision = match cost {
            0 => Decision::Admit,
            _ if cost > self.algorithm.capacity() => Decision::Never,
            _ => {
                let units = self.wait_queue.units().saturating_add(cost);
                // Never zero: a request is ahead.
                Decision::after(self.algorithm.wait(units, self.clock.now()).max(1))
            }
        };
        self.or_reject(decision, cost)
    }

    #[inline]
    fn or_reject(&self, decision: Decision, cost: u64) -> Result<(), Rejected> {
        decision.or_reject(self.limit, cost, self.algorithm.capacity())
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
        self.take(*cost)
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
        self.or_reject(Decision::after(due_in), *cost)
    }

    fn take_in_turn(&self, cost: &u64) -> Option<()> {
        let taken = self.algorithm.take_in_turn(*cost, self.clock.now());
        taken.is_admit().then_some(())
    }

    fn late(&self, _: &u64) -> Rejected {
        Rejected::too_long(self.limit, Duration::ZERO, Some(Duration::ZERO))
    }
}
