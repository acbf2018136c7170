//! A limit on a rate: an algorithm, a clock, and the queue in front of them.

use std::{sync::Arc, time::Duration};

use tokio::time::{Instant, sleep};

use super::{
    gate::{Entry, Gate, Waiting},
    turnstile::{Place, Queued, Turnstile},
};
use crate::{Clock, Decision, Limit, Quota, Reason, Rejected, algorithm::Algorithm};

/// The state that all handles of one limiter share.
#[derive(Debug)]
pub struct Rate<A> {
    algorithm: A,
    clock: Clock,
    turnstile: Turnstile,
    quota: Quota,
    limit: Limit,
}

// ===== impl Rate =====

impl<A: Algorithm> Rate<A> {
    pub(crate) fn new(algorithm: A, quota: Quota, clock: Clock, limit: Limit) -> Self {
        Self {
            algorithm,
            clock,
            turnstile: Turnstile::new(),
            quota,
            limit,
        }
    }

    pub(crate) fn quota(&self) -> Quota {
        self.quota
    }

    #[cfg(feature = "per-key")]
    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
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
        Decision::Wait(Duration::from_nanos(wait))
    }

    /// For the head of the queue: how long until its cost fits.
    fn due_in(&self, cost: u64) -> Duration {
        Duration::from_nanos(self.algorithm.due_in(cost, self.clock.now()))
    }

    fn never(&self, cost: u64) -> Rejected {
        let capacity = self.algorithm.capacity();
        Rejected::new(self.limit, Reason::NeverFits { cost, capacity }, None)
    }
}

impl<A> Queued for Rate<A> {
    #[allow(private_interfaces)]
    fn turnstile(&self) -> &Turnstile {
        &self.turnstile
    }
}

impl<A> Gate for Arc<Rate<A>>
where
    A: Algorithm + Send + Sync + 'static,
{
    type Ask = u64;
    type Pass = ();
    type Turn = Place<Rate<A>>;

    #[inline]
    fn enter(&self, cost: &u64) -> Entry<()> {
        match self.decide(*cost) {
            Decision::Admit => Entry::Pass(()),
            Decision::Wait(wait) => Entry::Wait(Some(wait)),
            Decision::Never => Entry::Never(self.never(*cost)),
        }
    }

    fn wait(
        &self,
        cost: u64,
        expected: Option<Duration>,
        default_max_wait: Duration,
    ) -> Result<Waiting<Self::Turn>, Rejected> {
        let place = Place::join(self.clone(), self.limit, cost, expected, default_max_wait)?;
        Ok(Box::pin(async move {
            let mut place = place;
            place.reach_head().await;
            until_due(place).await
        }))
    }

    fn deadline(turn: &Self::Turn) -> Option<(Instant, Rejected)> {
        let refusal = turn.waited_too_long(turn.queue().limit, Some(Duration::ZERO));
        Some((turn.last_instant()?, refusal))
    }

    fn take(turn: Self::Turn) -> Result<(), Waiting<Self::Turn>> {
        let rate = turn.queue();
        match rate.algorithm.take_in_turn(turn.units(), rate.clock.now()) {
            Decision::Admit => Ok(()),
            // The place, and with it the turn, is kept.
            Decision::Wait(_) | Decision::Never => Err(Box::pin(until_due(turn))),
        }
    }
}

/// Sleeps, as the head of the queue, until there is room.
async fn until_due<A: Algorithm>(place: Place<Rate<A>>) -> Result<Place<Rate<A>>, Rejected> {
    let rate = place.queue();
    loop {
        let wait = rate.due_in(place.units());
        let now = Instant::now();
        if let Some(last) = place.last_instant() {
            if now.checked_add(wait).is_none_or(|due| due > last) {
                return Err(place.waited_too_long(rate.limit, Some(wait)));
            }
        }
        if wait.is_zero() {
            return Ok(place);
        }
        sleep(wait).await;
    }
}
