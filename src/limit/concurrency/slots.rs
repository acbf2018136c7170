//! The slots of requests in flight.

#[cfg(feature = "redis")]
use std::sync::Weak;
use std::{sync::Arc, time::Duration};

use super::{
    Permit, Priority,
    adaptive::{Adaptive, Sample, SampleOutcome, Sampler},
    hold::report,
};
#[cfg(feature = "redis")]
use crate::limit::store::{handle::Handle, lease::SlotLease};
use crate::{
    error::{BoxError, LimitKind, Outcome, Rejected},
    limit::engine::{Limiter, Patience, WaitQueue, Waiter},
    sync::{AtomicUsize, Ordering},
};

/// The largest limit, so that no sum of a few can overflow.
const MOST: usize = usize::MAX >> 3;

/// The state that all clones of a limiter share.
#[derive(Debug)]
pub struct Slots {
    in_flight: AtomicUsize,
    /// The limit. The sampler changes it, if there is one.
    limit: AtomicUsize,
    /// The queues of the priorities, the highest first.
    pub(super) lanes: [Arc<WaitQueue>; Priority::LANES],
    sampler: Option<Box<Sampler>>,
    /// If the limit is shared by several processes. `limit` is the number of slots of this one.
    #[cfg(feature = "redis")]
    pub(crate) lease: Option<Arc<SlotLease>>,
}

// ===== impl Slots =====

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            in_flight: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit.min(MOST)),
            lanes: std::array::from_fn(|_| Arc::new(WaitQueue::new(None))),
            sampler: None,
            #[cfg(feature = "redis")]
            lease: None,
        }
    }

    /// Creates the slots of a limit that several processes share.
    #[cfg(feature = "redis")]
    pub(super) fn shared(limit: usize, store: Arc<Handle>, name: &str) -> Arc<Self> {
        Arc::new_cyclic(|slots: &Weak<Self>| Self {
            lease: Some(SlotLease::new(store, name, limit.min(MOST), slots.clone())),
            ..Self::new(0)
        })
    }

    /// Returns the limit that was set. The [limit](Self::limit) of this process may be lower.
    pub(super) fn total(&self) -> usize {
        #[cfg(feature = "redis")]
        if let Some(lease) = &self.lease {
            return lease.limit();
        }
        self.limit()
    }

    pub(super) fn adaptive(settings: &Adaptive) -> Self {
        Self {
            sampler: Some(Box::new(Sampler::new(settings))),
            ..Self::new(settings.first_limit())
        }
    }

    #[inline]
    pub(super) fn sampler(&self) -> Option<&Sampler> {
        self.sampler.as_deref()
    }

    /// Returns how many may be in flight here.
    #[inline]
    pub(crate) fn limit(&self) -> usize {
        // Relaxed: `wake` orders it with the requests that wait.
        self.limit.load(Ordering::Relaxed)
    }

    pub(super) fn set_limit(&self, limit: usize) {
        #[cfg(feature = "redis")]
        if let Some(lease) = &self.lease {
            return lease.set_limit(limit.min(MOST));
        }
        self.set_own_limit(limit);
    }

    /// Sets how many may be in flight here, and lets waiting requests look again.
    pub(crate) fn set_own_limit(&self, limit: usize) {
        match &self.sampler {
            None => self.limit.store(limit.min(MOST), Ordering::Relaxed),
            Some(sampler) => {
                sampler.update(&self.limit, |control, now| control.force(limit, now));
            }
        }
        self.wake();
    }

    /// Adds the outcome of a request, and changes the limit if it is time to.
    pub(super) fn report(&self, started: u64, idle: u64, outcome: SampleOutcome) {
        let Some(sampler) = &self.sampler else {
            return;
        };
        let in_flight = self.in_flight();
        let has_moved = sampler.update(&self.limit, |control, now| {
            control.sample(&Sample {
                started,
                idle,
                now,
                in_flight,
                outcome,
            });
        });
        if has_moved {
            self.wake();
        }
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// Returns the queue of a priority.
    pub(super) fn lane(&self, priority: Priority) -> &Arc<WaitQueue> {
        &self.lanes[priority.lane()]
    }

    pub(super) fn is_closed(&self) -> bool {
        self.lanes[0].is_closed()
    }

    /// Takes a slot if there is room and no request with the same or a higher priority is waiting.
    #[inline]
    pub(super) fn take(self: &Arc<Self>, priority: Priority) -> Option<Permit> {
        if priority == Priority::Critical {
            return (!self.is_closed()).then(|| self.take_over());
        }
        if !self.lane(priority).is_idle() {
            return None;
        }
        self.take_share(priority)
    }

    /// Takes a slot if the priority's share has room and no request with a higher priority is
    /// waiting.
    #[inline]
    pub(super) fn take_share(self: &Arc<Self>, priority: Priority) -> Option<Permit> {
        let share = self.open_to(priority);
        // AcqRel, as all changes: see `wake`.
        let one_more = |in_flight| (in_flight < share).then_some(in_flight + 1);
        let in_flight = &self.in_flight;
        let taken = in_flight.fetch_update(Ordering::AcqRel, Ordering::Relaxed, one_more);
        taken.ok()?;
        Some(Permit::new(self.clone()))
    }

    /// Takes a slot even if none is free.
    #[cold]
    pub(super) fn take_over(self: &Arc<Self>) -> Permit {
        self.in_flight.fetch_add(1, Ordering::AcqRel);
        let mut permit = Permit::new(self.clone());
        permit.ignored();
        permit
    }

    /// Returns the share of the limit that is open to a priority now.
    #[inline]
    fn open_to(&self, priority: Priority) -> usize {
        #[cfg(feature = "redis")]
        if self.lease.as_ref().is_some_and(|lease| lease.has_lapsed()) {
            return 0;
        }
        let mut before = self.lanes[..priority.lane()].iter();
        match before.any(|lane| lane.waiting() > 0) {
            true => 0,
            false => priority.share(self.limit()),
        }
    }

    /// Returns how many slots would be enough for all requests, in flight and waiting.
    #[cfg(feature = "redis")]
    pub(crate) fn needed(&self) -> usize {
        let waiting: usize = self.lanes.iter().map(|lane| lane.waiting()).sum();
        let all = self.in_flight() + waiting;
        let is_open = |(lane, priority): (&Arc<WaitQueue>, Priority)| {
            lane.waiting() == 0 || priority.share(all) >= all
        };
        let priorities = [Priority::High, Priority::Normal, Priority::Low];
        match self.lanes.iter().zip(priorities).all(is_open) {
            true => all,
            // The lowest may use three quarters.
            false => all + all / 3 + 1,
        }
    }

    /// Releases a slot.
    #[inline]
    pub(super) fn give_back(&self) {
        self.in_flight.fetch_sub(1, Ordering::AcqRel);
        self.wake_heads();
    }

    /// Lets the heads of the queues look for room again, after a change of the limit or a queue.
    ///
    /// No wake-up is lost. The number of requests in flight is written both here, after the change,
    /// and by `look`, after the request has joined its queue. Whichever is later sees what came
    /// before the other one: the change, or the request.
    pub(super) fn wake(&self) {
        self.in_flight.fetch_add(0, Ordering::AcqRel);
        self.wake_heads();
    }

    #[inline]
    fn wake_heads(&self) {
        let in_use = self.lanes.iter().filter(|lane| lane.waiting() > 0);
        in_use.for_each(|lane| lane.wake_head());
    }
}

impl Limiter for Arc<Slots> {
    type Ask = Priority;
    type Pass = Permit;

    const RESERVES: bool = true;

    #[inline]
    fn enter(&self, priority: &Priority, _: Duration) -> Result<Permit, Rejected> {
        self.take(*priority).ok_or_else(|| full(self))
    }

    #[cfg(feature = "redis")]
    fn reply_time(&self, rejected: &Rejected) -> Duration {
        let lease = self.lease.as_ref().filter(|_| !rejected.is_final());
        lease.map_or(Duration::ZERO, |lease| lease.reply_time())
    }

    fn join(&self, priority: &Priority, patience: Patience) -> Result<Waiter, Rejected> {
        let waiter = Waiter::join(self.lane(*priority).clone(), 1, patience)?;
        // Now it is seen as waiting.
        #[cfg(feature = "redis")]
        if let Some(lease) = &self.lease {
            lease.want();
        }
        Ok(waiter)
    }

    fn look(&self, priority: &Priority) -> Result<(), Rejected> {
        // Written, not only read: see `wake`.
        let in_flight = self.in_flight.fetch_add(0, Ordering::AcqRel);
        let has_room = in_flight < self.open_to(*priority);
        has_room.then_some(()).ok_or_else(late)
    }

    fn take_in_turn(&self, priority: &Priority) -> Option<Permit> {
        self.take_share(*priority).map(Permit::bare)
    }

    fn late(&self, _: &Priority) -> Rejected {
        late()
    }

    fn start(permit: &mut Permit) {
        permit.start();
    }

    #[cold]
    fn failed(error: Option<&BoxError>, mut permit: Permit) {
        report(error.and_then(Outcome::of_error), &mut permit);
    }

    fn left(&self, _: &Priority, _: Priority) {
        self.wake();
    }
}

#[cold]
fn full(slots: &Slots) -> Rejected {
    #[cfg(feature = "redis")]
    if let Some(lease) = &slots.lease {
        lease.want();
    }
    match slots.total() {
        _ if slots.is_closed() => late().closed(),
        0 => Rejected::never(LimitKind::Concurrency, 1, 0),
        _ => late(),
    }
}

fn late() -> Rejected {
    Rejected::too_long(LimitKind::Concurrency, None)
}
