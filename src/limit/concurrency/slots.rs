//! The slots of requests in flight.

use std::sync::{Arc, PoisonError};

use tokio::sync::{Notify, futures::Notified};

use super::{
    Permit, Priority,
    adaptive::{Adaptive, SampleOutcome, Sampler},
};
use crate::{
    limit::engine::WaitQueue,
    sync::{AtomicBool, AtomicUsize, Mutex, MutexGuard, Ordering, Semaphore},
};

/// The state that all clones of a limiter share.
#[derive(Debug)]
pub struct Slots {
    free: Semaphore,
    /// Slots to be removed when they are released, because the limit was lowered while they were in
    /// use, or because they were taken above the limit.
    owed: AtomicUsize,
    /// The limit; locked for changes.
    limit: Mutex<usize>,
    /// The queues of the priorities, the highest first.
    lanes: [Arc<WaitQueue>; 3],
    /// Whether a request has ever waited in one of the lower queues. If not, they need no check.
    has_lower: AtomicBool,
    /// Wakes the lower queues if there may be room.
    freed: Notify,
    sampler: Option<Box<Sampler>>,
}

// ===== impl Slots =====

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Semaphore::new(limit),
            owed: AtomicUsize::new(0),
            limit: Mutex::new(limit),
            has_lower: AtomicBool::new(false),
            lanes: std::array::from_fn(|_| Arc::new(WaitQueue::new(None))),
            freed: Notify::new(),
            sampler: None,
        }
    }

    pub(super) fn adaptive(settings: &Adaptive) -> Self {
        let sampler = Sampler::new(settings);
        let mut slots = Self::new(sampler.limit());
        slots.sampler = Some(Box::new(sampler));
        slots
    }

    #[inline]
    pub(super) fn sampler(&self) -> Option<&Sampler> {
        self.sampler.as_deref()
    }

    pub(super) fn limit(&self) -> usize {
        *self.lock()
    }

    pub(super) fn set_limit(&self, limit: usize) {
        match &self.sampler {
            None => self.apply(|| limit),
            Some(sampler) => {
                sampler.force(limit);
                self.apply(|| sampler.limit());
                #[cfg(feature = "tracing")]
                tracing::trace!(limit = sampler.limit(), "a limit has moved");
            }
        }
    }

    /// Adds the outcome of a request, and changes the limit if it is time to.
    pub(super) fn report(&self, started: u64, idle: u64, outcome: SampleOutcome) {
        if let Some(sampler) = &self.sampler {
            let in_flight = self.in_flight_of(sampler.limit());
            if sampler.sample(started, idle, in_flight, outcome) {
                self.apply(|| sampler.limit());
            }
        }
    }

    /// Sets the limit to the value that `limit` returns under the lock.
    fn apply(&self, limit: impl FnOnce() -> usize) {
        let mut current = self.lock();
        let limit = limit().min(Semaphore::MAX_PERMITS);
        if limit < *current {
            self.owed.fetch_add(*current - limit, Ordering::AcqRel);
        } else {
            let more = limit - *current;
            self.free.add_permits(more - self.pay_off(more));
        }
        *current = limit;
        drop(current);
        // Also after a raise: slots may have been owed before these became free.
        self.settle();
    }

    pub(super) fn in_flight(&self) -> usize {
        let limit = self.lock();
        self.in_flight_of(*limit)
    }

    fn in_flight_of(&self, limit: usize) -> usize {
        (limit + self.owed.load(Ordering::Acquire)).saturating_sub(self.free.available_permits())
    }

    pub(super) fn waiting(&self) -> usize {
        self.lanes.iter().map(|lane| lane.waiting()).sum()
    }

    /// Returns the queue of a priority.
    pub(super) fn lane(&self, priority: Priority) -> &Arc<WaitQueue> {
        &self.lanes[rank(priority)]
    }

    /// Rejects all requests from now on.
    pub(super) fn close(&self) {
        self.lanes.iter().for_each(|lane| lane.close());
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lanes[0].is_closed()
    }

    /// Waits for a slot. The semaphore is never closed: that would end with the next change of the
    /// limit.
    pub(super) async fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let slot = self.free.acquire().await.ok()?;
        slot.forget();
        Some(Permit::new(self.clone()))
    }

    /// Takes a slot for a lower priority, if no request with the same priority is waiting.
    #[cold]
    pub(super) fn take_behind(self: &Arc<Self>, priority: Priority) -> Option<Permit> {
        if !self.lane(priority).is_idle() {
            return None;
        }
        self.take_share(priority)
    }

    /// Takes a slot for a lower priority, if its share has room and no request with a higher
    /// priority is waiting.
    pub(super) fn take_share(self: &Arc<Self>, priority: Priority) -> Option<Permit> {
        // Both are written, in this order, because of `settle`: either `settle` sees that a request
        // may wait, or this method sees the free slot.
        self.has_lower.store(true, Ordering::Relaxed);
        self.owed.fetch_add(0, Ordering::AcqRel);
        let mut before = self.lanes[..rank(priority)].iter();
        let is_behind = before.any(|lane| lane.waiting() > 0);
        let limit = self.limit();
        if is_behind || self.in_flight_of(limit) >= priority.share(limit) {
            return None;
        }
        self.take_free()
    }

    /// Takes a slot if one is free and no request with the highest priority is waiting.
    #[inline]
    pub(super) fn take(self: &Arc<Self>) -> Option<Permit> {
        if !self.lanes[0].is_idle() {
            return None;
        }
        self.take_free()
    }

    #[inline]
    fn take_free(self: &Arc<Self>) -> Option<Permit> {
        self.free.try_acquire().ok()?.forget();
        Some(Permit::new(self.clone()))
    }

    /// Takes a slot even if none is free.
    #[cold]
    pub(super) fn take_over(self: &Arc<Self>) -> Permit {
        match self.free.try_acquire() {
            Ok(slot) => slot.forget(),
            Err(_) => {
                // Adds a slot, and removes the next one that is released.
                self.owed.fetch_add(1, Ordering::AcqRel);
                self.settle();
            }
        }
        Permit::unwatched(self.clone())
    }

    /// Releases a slot.
    #[inline]
    pub(super) fn give_back(&self) {
        // If slots are owed, more requests are in flight than the limit, and there is no room.
        if self.pay_off(1) == 0 {
            self.free.add_permits(1);
            self.settle();
        }
    }

    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Removes free slots while some are owed, and wakes the lower queues. Called after each change
    /// of either, and when a waiter leaves a queue, because it may already have been given a slot.
    pub(super) fn settle(&self) {
        // Written, not only read: if one thread releases a slot while another lowers the limit, the
        // one that writes later sees both the free slot and the debt. AcqRel for the same reason.
        loop {
            let owed = self.owed.fetch_add(0, Ordering::AcqRel);
            let gone = self.free.forget_permits(owed);
            if gone == 0 {
                break;
            }
            self.free.add_permits(gone - self.pay_off(gone));
        }
        if self.has_lower.load(Ordering::Relaxed) {
            self.freed.notify_waiters();
        }
    }

    /// Reduces the debt by at most `most`, and returns by how many.
    fn pay_off(&self, most: usize) -> usize {
        // In the common case this is a plain load.
        if self.owed.load(Ordering::Acquire) == 0 {
            return 0;
        }
        let pay = |owed: usize| Some(owed.saturating_sub(most));
        self.owed
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, pay)
            .map_or(0, |owed| owed.min(most))
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Returns the index of a priority's queue.
const fn rank(priority: Priority) -> usize {
    match priority {
        Priority::High | Priority::Critical => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}
