//! The slots that requests in flight hold.

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

/// The state that all handles of one limiter share.
#[derive(Debug)]
pub struct Slots {
    free: Semaphore,
    /// Slots that must vanish when they are given back, since the limit was lowered while they were held, or since they were
    /// taken over the limit.
    owed: AtomicUsize,
    /// The limit; the lock is for changing it.
    limit: Mutex<usize>,
    /// The queues of the priorities, the highest first.
    lanes: [Arc<WaitQueue>; 3],
    /// Whether anyone has ever waited in one of the lower queues: where nobody has, nobody looks there.
    has_lower: AtomicBool,
    /// Tells those in the lower queues that there may be room.
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

    /// Takes in what came of a request, and changes the limit if it is time to.
    pub(super) fn report(&self, started: u64, idle: u64, outcome: SampleOutcome) {
        if let Some(sampler) = &self.sampler {
            let in_flight = self.in_flight_of(sampler.limit());
            if sampler.sample(started, idle, in_flight, outcome) {
                self.apply(|| sampler.limit());
            }
        }
    }

    /// Changes the limit to what `limit` says under the lock.
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
        // Also where it was raised: another slot may have been owed before these were free.
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

    /// The queue of a priority.
    pub(super) fn lane(&self, priority: Priority) -> &Arc<WaitQueue> {
        &self.lanes[rank(priority)]
    }

    /// Waits for a slot. The semaphore is never closed.
    pub(super) async fn acquire(self: &Arc<Self>) -> Option<Permit> {
        let slot = self.free.acquire().await.ok()?;
        slot.forget();
        Some(Permit::new(self.clone()))
    }

    /// The same for a priority below the highest, behind those who wait with the same one.
    #[cold]
    pub(super) fn take_behind(self: &Arc<Self>, priority: Priority) -> Option<Permit> {
        if self.lane(priority).waiting() > 0 {
            return None;
        }
        self.take_share(priority)
    }

    /// Takes a slot for a priority below the highest, if there is room in its share and nobody goes before it.
    pub(super) fn take_share(self: &Arc<Self>, priority: Priority) -> Option<Permit> {
        // Both written to, and in this order, for the sake of `settle`: either that one sees that somebody may wait, or this
        // one sees what is free.
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

    /// Takes a slot if one is free and nobody waits for one with the highest priority.
    #[inline]
    pub(super) fn take(self: &Arc<Self>) -> Option<Permit> {
        if self.lanes[0].waiting() > 0 {
            return None;
        }
        self.take_free()
    }

    #[inline]
    fn take_free(self: &Arc<Self>) -> Option<Permit> {
        self.free.try_acquire().ok()?.forget();
        Some(Permit::new(self.clone()))
    }

    /// Takes a slot whether there is one or not.
    #[cold]
    pub(super) fn take_over(self: &Arc<Self>) -> Permit {
        match self.free.try_acquire() {
            Ok(slot) => slot.forget(),
            Err(_) => {
                // A slot more, and one that vanishes with the next that is given back.
                self.owed.fetch_add(1, Ordering::AcqRel);
                self.settle();
            }
        }
        Permit::unwatched(self.clone())
    }

    /// Gives a slot back.
    #[inline]
    pub(super) fn give_back(&self) {
        // Where something is owed, more than the limit are in flight, and there is room for nobody.
        if self.pay_off(1) == 0 {
            self.free.add_permits(1);
            self.settle();
        }
    }

    pub(super) fn freed(&self) -> Notified<'_> {
        self.freed.notified()
    }

    /// Lets free slots vanish as long as some are owed, and those in the lower queues look again: after every change of either, and
    /// whenever someone leaves a queue, who may have been given a slot already.
    pub(super) fn settle(&self) {
        // Written to, not only read: of one who gives a slot back and one who lowers the limit at the same time, the one
        // that writes later sees both the free slot and the debt. AcqRel for the same reason.
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

    /// Takes up to so many slots off the debt, and returns how many.
    fn pay_off(&self, most: usize) -> usize {
        // The common case is a plain load.
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

/// The place of a priority among the queues.
const fn rank(priority: Priority) -> usize {
    match priority {
        Priority::High | Priority::Critical => 0,
        Priority::Normal => 1,
        Priority::Low => 2,
    }
}
