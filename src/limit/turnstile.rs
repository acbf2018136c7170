//! The queue of those who wait: first in, first out, and only its head has a timer.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};

use crate::{Limit, Reason, Rejected, quota::nanos};

/// How much longer than `max_wait` the head of the queue may take: the lateness of the timers of those ahead of it.
const GRACE: Duration = Duration::from_millis(10);

/// A queue, and how much waiting it bears.
#[derive(Debug)]
pub(crate) struct Turnstile {
    /// Tokio's semaphore is fair, so whoever holds its one permit is the head of the queue.
    head: Semaphore,
    waiting: AtomicUsize,
    units: AtomicU64,
    max_wait: AtomicU64,
    max_waiting: AtomicUsize,
}

/// Whatever has a queue in front of it.
pub trait Queued {
    /// Its queue.
    #[doc(hidden)]
    #[allow(
        private_interfaces,
        reason = "the trait can't be named outside this crate"
    )]
    fn turnstile(&self) -> &Turnstile;
}

/// A place in the queue. Dropping it leaves the queue, from whatever place.
#[derive(Debug)]
pub struct Place<Q: Queued> {
    queue: Arc<Q>,
    units: u64,
    is_head: bool,
    deadline: Option<Instant>,
}

/// No `max_wait` was given: the caller decides.
const UNSET: u64 = u64::MAX;

// ===== impl Turnstile =====

impl Turnstile {
    pub(crate) const fn new() -> Self {
        Self {
            head: Semaphore::const_new(1),
            waiting: AtomicUsize::new(0),
            units: AtomicU64::new(0),
            max_wait: AtomicU64::new(UNSET),
            max_waiting: AtomicUsize::new(usize::MAX),
        }
    }

    // Relaxed throughout: each is a lone number, and the semaphore orders those who wait.

    pub(crate) fn set_max_wait(&self, max_wait: Duration) {
        let max_wait = nanos(max_wait).min(UNSET - 1);
        self.max_wait.store(max_wait, Ordering::Relaxed);
    }

    pub(crate) fn set_max_waiting(&self, max_waiting: usize) {
        self.max_waiting.store(max_waiting, Ordering::Relaxed);
    }

    #[cfg(feature = "per-key")]
    pub(crate) fn max_waiting(&self) -> usize {
        self.max_waiting.load(Ordering::Relaxed)
    }

    pub(crate) fn max_wait_or(&self, default: Duration) -> Duration {
        match self.max_wait.load(Ordering::Relaxed) {
            UNSET => default,
            nanos => Duration::from_nanos(nanos),
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// The units that all who wait ask for.
    pub(crate) fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }
}

/// A queue that is in front of nothing else of its own.
impl Queued for Turnstile {
    #[allow(private_interfaces)]
    fn turnstile(&self) -> &Turnstile {
        self
    }
}

// ===== impl Place =====

impl<Q: Queued> Place<Q> {
    /// Joins the end of the queue, or says why not. `wait` is how long it is expected to take, where that is known.
    pub(crate) fn join(
        queue: Arc<Q>,
        limit: Limit,
        units: u64,
        wait: Option<Duration>,
        default_max_wait: Duration,
    ) -> Result<Self, Rejected> {
        let turnstile = queue.turnstile();
        let max_wait = turnstile.max_wait_or(default_max_wait);
        if max_wait.is_zero() || wait.is_some_and(|wait| wait > max_wait) {
            return Err(Rejected::new(limit, Reason::WaitTooLong { max_wait }, wait));
        }
        let max_waiting = turnstile.max_waiting.load(Ordering::Relaxed);
        let one_more = |waiting: usize| (waiting < max_waiting).then(|| waiting + 1);
        let more_units = |sum: u64| sum.checked_add(units);
        let relaxed = Ordering::Relaxed;
        let full = |max_waiting| Rejected::new(limit, Reason::QueueFull { max_waiting }, wait);
        turnstile
            .waiting
            .fetch_update(relaxed, relaxed, one_more)
            .map_err(|_| full(max_waiting))?;
        if turnstile
            .units
            .fetch_update(relaxed, relaxed, more_units)
            .is_err()
        {
            let others = turnstile.waiting.fetch_sub(1, relaxed) - 1;
            return Err(full(others));
        }
        Ok(Self {
            units,
            is_head: false,
            deadline: Instant::now().checked_add(max_wait),
            queue,
        })
    }

    pub(crate) fn queue(&self) -> &Arc<Q> {
        &self.queue
    }

    pub(crate) fn units(&self) -> u64 {
        self.units
    }

    /// Until when it may wait; `None` is for ever.
    ///
    /// The longest wait belongs to the queue, so nobody's deadline comes before that of those ahead, and it is enough
    /// that the head looks at its own. Only one who came after the longest wait was made shorter may have to reach the
    /// head before it learns that its time is over.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// When the head of the queue has waited for too long.
    pub(crate) fn last_instant(&self) -> Option<Instant> {
        self.deadline()?.checked_add(GRACE)
    }

    /// The refusal of one whose deadline has passed. `wait` is how long it would still take, where that is known.
    pub(crate) fn waited_too_long(&self, limit: Limit, wait: Option<Duration>) -> Rejected {
        let max_wait = self.queue.turnstile().max_wait_or(Duration::MAX);
        Rejected::new(limit, Reason::WaitTooLong { max_wait }, wait)
    }

    /// Waits to become the head of the queue.
    pub(crate) async fn reach_head(&mut self) {
        // The semaphore is never closed. Whoever holds a place gives the permit back by hand.
        if let Ok(permit) = self.queue.turnstile().head.acquire().await {
            permit.forget();
            self.is_head = true;
        }
    }
}

impl<Q: Queued> Drop for Place<Q> {
    fn drop(&mut self) {
        let turnstile = self.queue.turnstile();
        turnstile.units.fetch_sub(self.units, Ordering::Relaxed);
        turnstile.waiting.fetch_sub(1, Ordering::Relaxed);
        if self.is_head {
            turnstile.head.add_permits(1);
        }
    }
}
