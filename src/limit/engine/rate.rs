//! A limit on a rate: an algorithm, a clock, and the queue in front of them.

use std::{sync::Arc, time::Duration};

use super::{
    front::{Front, Schedule},
    limiter::{Gate, Waiting},
    wait_queue::{Bounds, Patience, Place, Turnstile},
};
use crate::{
    error::{Limit, Rejected},
    limit::{algorithm::Algorithm, clock::Clock, decision::Decision, quota::Quota},
};

/// The state that all handles of one limiter share.
#[derive(Debug)]
pub struct Rate<A> {
    algorithm: A,
    pub(crate) clock: Clock,
    pub(crate) turnstile: Arc<Turnstile>,
    pub(crate) bounds: Bounds,
    pub(crate) quota: Quota,
    limit: Limit,
}

// ===== impl Rate =====

impl<A: Algorithm> Rate<A> {
    pub(crate) fn new(algorithm: A, quota: Quota, clock: Clock, limit: Limit) -> Self {
        Self {
            algorithm,
            clock,
            turnstile: Arc::new(Turnstile::new(None)),
            bounds: Bounds::new(),
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
        if self.turnstile.waiting() > 0 {
            return self.behind_the_queue(cost, now);
        }
        self.algorithm.take(cost, now)
    }

    #[cold]
    fn behind_the_queue(&self, cost: u64, now: u64) -> Decision {
        let units = self.turnstile.units().saturating_add(cost);
        // Never zero: there is somebody ahead.
        let wait = self.algorithm.wait(units, now).max(1);
        Decision::after(wait)
    }
}

impl<A> Gate for Arc<Rate<A>>
where
    A: Algorithm + Send + Sync + 'static,
{
    type Ask = u64;
    type Pass = ();
    type Turn = Front<Self>;

    fn bounds(&self) -> &Bounds {
        &self.bounds
    }

    #[inline]
    fn enter(&self, cost: &u64) -> Result<(), Rejected> {
        self.decide(*cost)
            .or_reject(self.limit, *cost, self.algorithm.capacity())
    }

    fn join(&self, cost: u64, patience: Patience) -> Result<Waiting<Self::Turn>, Rejected> {
        Front::wait(
            self,
            cost,
            Place::join(self.turnstile.clone(), cost, patience),
        )
    }
}

impl<A> Schedule for Arc<Rate<A>>
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
