//! A limit on a rate: an algorithm, a clock, and the queue in front of them.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    limiter::{Front, Limiter, acquire_by},
    wait_queue::{Patience, WaitQueue, Waiter},
};
use crate::{
    error::{LimitKind, Rejected},
    limit::{
        algorithm::{Algorithm, Mark},
        clock::Clock,
        decision::Decision,
        quota::Quota,
    },
    sync::unpoisoned,
};

/// The state that all handles of one limiter share.
#[derive(Debug)]
pub struct RateLimiter<A> {
    algorithm: A,
    pub(crate) clock: Clock,
    pub(crate) wait_queue: Arc<WaitQueue>,
    /// Locked while it is changed, and while something is given back.
    quota: Mutex<Quota>,
    /// How often the quota was changed. Nothing is given back that was taken by an earlier one.
    epoch: AtomicU64,
    limit: LimitKind,
}

/// Permit of a request that a token bucket or a sliding window admitted.
///
/// The units count as used unless they are [refunded](Self::refund). Dropping the permit does
/// nothing.
pub struct Permit<'a> {
    limiter: &'a dyn Refund,
    epoch: u64,
    mark: Mark,
}

/// A limiter that takes units back.
trait Refund: Send + Sync {
    fn refund(&self, epoch: u64, mark: &Mark);
}

// ===== impl RateLimiter =====

impl<A: Algorithm> RateLimiter<A> {
    pub(crate) fn new(algorithm: A, quota: Quota, clock: Clock, limit: LimitKind) -> Self {
        Self {
            algorithm,
            clock,
            wait_queue: Arc::new(WaitQueue::new(None)),
            quota: Mutex::new(quota),
            epoch: AtomicU64::new(0),
            limit,
        }
    }

    pub(crate) fn quota(&self) -> Quota {
        *unpoisoned(self.quota.lock())
    }

    pub(crate) fn set_quota(&self, quota: Quota) {
        let mut current = unpoisoned(self.quota.lock());
        self.algorithm.set_quota(&quota, self.clock.now());
        *current = quota;
        self.epoch.fetch_add(1, Ordering::Release);
        drop(current);
        self.wait_queue.wake_head();
    }

    /// Takes `cost` units now, and returns `pass` of them. Otherwise returns the rejection of a
    /// request that does not wait.
    #[inline(always)]
    fn take<T>(&self, cost: u64, pass: impl FnOnce(Mark) -> T) -> Result<T, Rejected> {
        if cost == 0 || !self.wait_queue.is_idle() {
            return self.take_behind(cost).map(pass);
        }
        match self.algorithm.take(cost, self.clock.now()) {
            Ok(mark) => Ok(pass(mark)),
            Err(decision) => Err(self.rejected(decision, cost)),
        }
    }

    /// The same for nothing, or if others wait, or if the limiter is closed.
    #[cold]
    fn take_behind(&self, cost: u64) -> Result<Mark, Rejected> {
        if self.wait_queue.is_closed() {
            return Err(Rejected::too_long(self.limit, Duration::ZERO, None).closed());
        }
        if cost == 0 {
            return Ok(Mark::default());
        }
        if cost > self.algorithm.capacity() {
            return Err(self.rejected(Decision::Never, cost));
        }
        let units = self.wait_queue.units().saturating_add(cost);
        // Never zero: a request is ahead.
        let wait = self.algorithm.wait(units, self.clock.now()).max(1);
        Err(self.rejected(Decision::after(wait), cost))
    }

    /// The same for a request that may give the units back.
    #[inline]
    pub(crate) fn take_permit(&self, cost: u64) -> Result<Permit<'_>, Rejected> {
        let epoch = self.epoch();
        self.take(cost, |mark| self.permit(epoch, mark))
    }

    /// Reads the epoch before something is taken.
    #[inline]
    fn epoch(&self) -> u64 {
        // Acquire: pairs with the addition in `set_quota`, so that the mark is not older.
        self.epoch.load(Ordering::Acquire)
    }

    #[inline]
    fn permit(&self, epoch: u64, mark: Mark) -> Permit<'_> {
        Permit {
            limiter: self,
            epoch,
            mark,
        }
    }

    /// Waits in line for `cost` units, and takes them.
    pub(crate) async fn acquire_permit<'a>(
        self: &'a Arc<Self>,
        cost: u64,
        max_wait: Duration,
    ) -> Result<Permit<'a>, Rejected> {
        let in_turn = || {
            let epoch = self.epoch();
            let taken = self.algorithm.take_in_turn(cost, self.clock.now());
            taken.ok().map(|mark| self.permit(epoch, mark))
        };
        let take = |front: Front<Arc<Self>>| front.take_by(|_, _| in_turn());
        acquire_by(self, cost, max_wait, self.take_permit(cost), take).await
    }

    #[cold]
    fn rejected(&self, decision: Decision, cost: u64) -> Rejected {
        decision.rejection(self.limit, cost, self.algorithm.capacity())
    }
}

impl<A: Algorithm> Refund for RateLimiter<A> {
    fn refund(&self, epoch: u64, mark: &Mark) {
        let quota = unpoisoned(self.quota.lock());
        // Relaxed: only changed under the lock.
        if mark.cost > 0 && self.epoch.load(Ordering::Relaxed) == epoch {
            self.algorithm.give_back(mark, self.clock.now());
            drop(quota);
            self.wait_queue.wake_head();
        }
    }
}

impl<A: Algorithm> Limiter for Arc<RateLimiter<A>> {
    type Ask = u64;
    type Pass = ();

    #[inline]
    fn enter(&self, cost: &u64, _: Duration) -> Result<(), Rejected> {
        self.take(*cost, drop)
    }

    fn join(&self, cost: &u64, patience: Patience) -> Result<Waiter, Rejected> {
        Waiter::join(self.wait_queue.clone(), *cost, patience)
    }

    fn look(&self, cost: &u64) -> Result<(), Rejected> {
        let capacity = self.algorithm.capacity();
        let decision = match *cost > capacity {
            true => Decision::Never,
            false => Decision::after(self.algorithm.due_in(*cost, self.clock.now())),
        };
        decision.or_reject(self.limit, *cost, capacity)
    }

    fn take_in_turn(&self, cost: &u64) -> Option<()> {
        let taken = self.algorithm.take_in_turn(*cost, self.clock.now());
        taken.ok().map(drop)
    }

    fn late(&self, _: &u64) -> Rejected {
        Rejected::too_long(self.limit, Duration::ZERO, Some(Duration::ZERO))
    }
}

// ===== impl Permit =====

impl Permit<'_> {
    /// Returns the units of a request that did not start, as far as they have not refilled since.
    /// If the quota was changed since, returns nothing.
    ///
    /// The next request in the queue may start at once. The limit holds as if the request had never
    /// been admitted, or is stricter: in a sliding window of at most 4,096 units, units that are
    /// not the newest are available once the older ones are.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::{Quota, TokenBucketLimiter};
    ///
    /// let limiter = TokenBucketLimiter::new(Quota::per_hour(10));
    /// let permit = limiter.try_acquire(10)?;
    /// assert!(limiter.try_acquire(1).is_err());
    ///
    /// // The request was not sent.
    /// permit.refund();
    /// assert!(limiter.try_acquire(10).is_ok());
    /// # Ok::<(), tower_throttle::Rejected>(())
    /// ```
    pub fn refund(self) {
        self.limiter.refund(self.epoch, &self.mark);
    }
}

crate::macros::debug!(impl Debug for Permit<'_> |self| { cost: self.mark.cost, .. });
