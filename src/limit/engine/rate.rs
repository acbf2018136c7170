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
#[cfg(feature = "redis")]
use crate::limit::store::{
    call::{LimitSpec, StateKey},
    handle::Handle,
    link::{Link, Queue},
};
use crate::{
    error::{LimitKind, Rejected},
    limit::{
        algorithm::{Algorithm, Mark},
        clock::Clock,
        decision::Decision,
        priority::Priority,
        quota::Quota,
        usage::LimiterUsage,
    },
    sync::unpoisoned,
};

/// The state that all handles of one limiter share.
#[derive(Debug)]
pub struct RateLimiter<A: ?Sized> {
    pub(crate) clock: Clock,
    pub(crate) wait_queue: Arc<WaitQueue>,
    /// Locked while it is changed, and while something is given back.
    quota: Mutex<Quota>,
    /// How often the quota was changed. Nothing is given back that was taken by an earlier one.
    epoch: AtomicU64,
    limit: LimitKind,
    /// If it is shared by several processes. Nothing fits into the algorithm then.
    #[cfg(feature = "redis")]
    shared: Option<(Arc<Link>, ToSpec)>,
    algorithm: A,
}

/// Returns a quota as the store has it.
#[cfg(feature = "redis")]
type ToSpec = fn(&Quota) -> LimitSpec;

/// Permit of a request that a token bucket or a sliding window admitted.
///
/// The units count as used unless they are [refunded](Self::refund). Dropping the permit does
/// nothing.
pub struct Permit<'a> {
    limiter: &'a RateLimiter<dyn Algorithm>,
    epoch: u64,
    mark: Mark,
}

// ===== impl RateLimiter =====

impl<A: Algorithm> RateLimiter<A> {
    pub(crate) fn new(algorithm: A, quota: Quota, clock: Clock, limit: LimitKind) -> Self {
        Self {
            clock,
            wait_queue: Arc::new(WaitQueue::new(None)),
            quota: Mutex::new(quota),
            epoch: AtomicU64::new(0),
            limit,
            #[cfg(feature = "redis")]
            shared: None,
            algorithm,
        }
    }

    /// Takes from the store under `name` instead. Nothing may fit into the algorithm.
    #[cfg(feature = "redis")]
    pub(crate) fn in_store(mut self, store: Arc<Handle>, name: &str, spec: ToSpec) -> Self {
        let limit = spec(&self.quota());
        let look_again = store.look_again(&limit);
        self.wait_queue = Arc::new(WaitQueue::new(Some(look_again)));
        let (key, queue) = (StateKey::of_name(name), self.wait_queue.clone());
        self.shared = Some((Link::new(store, key, Arc::new([limit]), queue), spec));
        self
    }

    /// Returns the store and the name under which the limit is shared, if it is.
    #[cfg(all(feature = "redis", feature = "per-key"))]
    pub(crate) fn store(&self) -> Option<(Arc<Handle>, Arc<str>)> {
        let (link, _) = self.shared.as_ref()?;
        Some(link.place())
    }

    pub(crate) fn quota(&self) -> Quota {
        *unpoisoned(self.quota.lock())
    }

    pub(crate) fn set_quota(&self, quota: Quota) {
        let mut current = unpoisoned(self.quota.lock());
        #[cfg(feature = "redis")]
        if let Some((link, spec)) = &self.shared {
            *current = quota;
            return link.set_limit(0, spec(&quota));
        }
        self.algorithm.set_quota(&quota, self.clock.now());
        *current = quota;
        self.epoch.fetch_add(1, Ordering::Release);
        drop(current);
        self.wait_queue.wake_head();
    }

    /// Takes `cost` units now, and returns `pass` of them. Otherwise returns the rejection of a
    /// request that does not wait.
    #[inline(always)]
    fn take<T>(
        &self,
        cost: u64,
        max_wait: Duration,
        pass: impl FnOnce(Mark) -> T,
    ) -> Result<T, Rejected> {
        if cost == 0 || !self.wait_queue.is_idle() {
            return self.take_behind(cost).map(pass);
        }
        match self.algorithm.take(cost, self.clock.now()) {
            Ok(mark) => Ok(pass(mark)),
            Err(decision) => self.take_from_store(cost, max_wait, decision).map(pass),
        }
    }

    /// Takes `cost` units that the store has granted, if the limit is shared. Otherwise returns the
    /// rejection.
    #[cold]
    fn take_from_store(
        &self,
        cost: u64,
        max_wait: Duration,
        decision: Decision,
    ) -> Result<Mark, Rejected> {
        #[cfg(feature = "redis")]
        if let Some((link, _)) = &self.shared {
            let taken = link.take(&[cost], max_wait).map(|marks| marks[0]);
            return taken.map_err(|shortage| shortage.rejection(self.limit, cost, self.capacity()));
        }
        let _ = max_wait;
        Err(self.rejected(decision, cost))
    }

    /// Returns the most units that can be taken at once.
    fn capacity(&self) -> u64 {
        #[cfg(feature = "redis")]
        if let Some((link, _)) = &self.shared {
            return link.capacity(0);
        }
        self.algorithm.capacity()
    }

    /// The same for nothing, or if others wait, or if the limiter is closed.
    #[cold]
    fn take_behind(&self, cost: u64) -> Result<Mark, Rejected> {
        if self.wait_queue.is_closed() {
            return Err(Rejected::too_long(self.limit, None).closed());
        }
        if cost == 0 {
            return Ok(Mark::default());
        }
        if cost > self.capacity() {
            return Err(self.rejected(Decision::Never, cost));
        }
        #[cfg(feature = "redis")]
        if let Some((link, _)) = &self.shared {
            if let Some(marks) = link.take_besides(&[cost]) {
                return Ok(marks[0]);
            }
            let wait = link.wait_behind(&[cost]);
            return Err(Rejected::too_long(self.limit, wait));
        }
        Err(self.rejected_behind(self.wait_queue.units(), cost))
    }

    /// Returns the rejection of a request behind `ahead` units.
    fn rejected_behind(&self, ahead: u64, cost: u64) -> Rejected {
        let units = ahead.saturating_add(cost);
        // Never zero: a request is ahead.
        let wait = self.algorithm.wait(units, self.clock.now()).max(1);
        self.rejected(Decision::after(wait), cost)
    }

    /// The same for a request that may give the units back.
    #[inline]
    pub(crate) fn take_permit(
        &self,
        cost: u64,
        max_wait: Duration,
    ) -> Result<Permit<'_>, Rejected> {
        let epoch = self.epoch();
        self.take(cost, max_wait, |mark| self.permit(epoch, mark))
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
        priority: Priority,
        max_wait: Duration,
    ) -> Result<Permit<'a>, Rejected> {
        let in_turn = || {
            let epoch = self.epoch();
            self.take_head(cost).map(|mark| self.permit(epoch, mark))
        };
        let take = |front: Front<Arc<Self>>| front.take_by(|_, _| in_turn());
        let entered = self.take_permit(cost, max_wait);
        acquire_by(self, cost, priority, max_wait, entered, take).await
    }

    /// Takes `cost` units for the head of the queue, if there is room.
    fn take_head(&self, cost: u64) -> Option<Mark> {
        #[cfg(feature = "redis")]
        if let Some((link, _)) = &self.shared {
            return link.take_in_turn(&[cost]).map(|marks| marks[0]);
        }
        self.algorithm.take_in_turn(cost, self.clock.now()).ok()
    }

    pub(crate) fn usage(&self) -> LimiterUsage {
        LimiterUsage {
            limit: self.capacity(),
            used: self.used(),
            waiting: self.wait_queue.waiting(),
        }
    }

    /// Returns the units that count now.
    fn used(&self) -> u64 {
        #[cfg(feature = "redis")]
        if let Some((link, _)) = &self.shared {
            let usage = link.usage();
            let used = usage.as_ref().and_then(|usage| usage.used.first());
            return used.map_or(0, |used| used.units);
        }
        self.algorithm.used(self.clock.now())
    }

    /// Closes the limiter.
    pub(crate) fn close(&self) {
        self.wait_queue.close();
        #[cfg(feature = "redis")]
        if let Some((link, _)) = &self.shared {
            link.close();
        }
    }

    #[cold]
    fn rejected(&self, decision: Decision, cost: u64) -> Rejected {
        decision.rejection(self.limit, cost, self.capacity())
    }
}

impl RateLimiter<dyn Algorithm> {
    fn refund(&self, epoch: u64, mark: &Mark) {
        #[cfg(feature = "redis")]
        if let Some((link, _)) = &self.shared {
            return link.refund(&[*mark]);
        }
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
    fn enter(&self, cost: &u64, max_wait: Duration) -> Result<(), Rejected> {
        self.take(*cost, max_wait, drop)
    }

    fn behind(&self, cost: &u64, priority: Priority) -> Option<Rejected> {
        let ahead = self.wait_queue.units_ahead(priority)?;
        #[cfg(feature = "redis")]
        if let Some((link, _)) = &self.shared {
            let wait = link.wait_after(&[*cost], |_| ahead);
            return Some(Rejected::too_long(self.limit, wait));
        }
        Some(self.rejected_behind(ahead, *cost))
    }

    #[cfg(feature = "redis")]
    fn reply_time(&self, rejected: &Rejected) -> Duration {
        let shared = self.shared.as_ref().filter(|_| rejected.needs_reply());
        shared.map_or(Duration::ZERO, |(link, _)| link.timeout())
    }

    fn join(&self, cost: &u64, patience: Patience) -> Result<Waiter, Rejected> {
        Waiter::join(self.wait_queue.clone(), *cost, patience)
    }

    fn look(&self, cost: &u64) -> Result<(), Rejected> {
        #[cfg(feature = "redis")]
        if let Some((link, _)) = &self.shared {
            let looked = link.look(&[*cost]);
            return looked.map_err(|short| short.rejection(self.limit, *cost, self.capacity()));
        }
        let capacity = self.algorithm.capacity();
        let decision = match *cost > capacity {
            true => Decision::Never,
            false => Decision::after(self.algorithm.due_in(*cost, self.clock.now())),
        };
        decision.or_reject(self.limit, *cost, capacity)
    }

    fn take_in_turn(&self, cost: &u64) -> Option<()> {
        self.take_head(*cost).map(drop)
    }

    fn late(&self, _: &u64) -> Rejected {
        Rejected::too_long(self.limit, Some(Duration::ZERO))
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

#[cfg(feature = "redis")]
impl Queue for WaitQueue {
    /// Each limit is asked for as much.
    fn units(&self, _: usize) -> u64 {
        self.units()
    }

    fn wait_queue(&self) -> &WaitQueue {
        self
    }
}
