//! The queue of waiting requests: first in, first out. Only its head sleeps until there is room,
//! and each that has a longest wait has a timer for that: the head may belong to a future that is
//! not polled.

use std::{mem, pin::Pin, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, Semaphore},
    time::{Instant, timeout_at},
};

use crate::{
    error::{Reason, Rejected},
    limit::clock::TIMER_LATENESS,
    sync::{AtomicU64, AtomicUsize, Ordering, fence},
};

/// Resolves if a turn must end without a call.
pub(crate) type Expiry = Pin<Box<dyn Future<Output = Rejected> + Send + Sync>>;

/// A bit of [`WaitQueue::waiting`].
const CLOSED: usize = 1 << (usize::BITS - 1);

/// A queue.
#[derive(Debug)]
pub(crate) struct WaitQueue {
    /// Tokio's semaphore is fair, so the holder of its one permit is the head of the queue.
    head: Semaphore,
    /// Wakes the head if what it waits for may be there, or if the queue is closed.
    changed: Notify,
    /// Wakes those whose turn it is if the queue is closed. They must not take a wake-up of the
    /// head, so this is not `changed`.
    closing: Notify,
    /// How many wait, and [`CLOSED`]: in one number, so that no request joins a closed queue.
    waiting: AtomicUsize,
    units: AtomicU64,
    /// The longest that the head waits, in nanoseconds.
    #[cfg(feature = "redis")]
    patience: AtomicU64,
    /// How often the head looks for changes that do not wake it, if there are any.
    look_again: Option<Duration>,
}

/// How long, and how many, may wait: a setting of a layer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitLimits {
    /// If it is not set, the way in which the layer rejects decides.
    pub(crate) max_wait: Option<Duration>,
    pub(crate) max_waiting: usize,
    /// The name of the layer, for its rejections.
    pub(crate) name: Option<&'static str>,
}

/// How long, and how many, may wait in this case, and the rejection of other requests.
#[derive(Debug)]
pub struct Patience {
    pub(crate) rejected: Rejected,
    pub(crate) max_wait: Duration,
    /// How long it may wait beside that for a reply, which says whether it has to wait.
    pub(crate) reply_time: Duration,
    pub(crate) max_waiting: usize,
}

/// A place in the queue. Dropping it leaves the queue, from whatever place.
#[derive(Debug)]
pub struct Waiter {
    queue: Arc<WaitQueue>,
    units: u64,
    is_head: bool,
    is_waiting: bool,
    /// The longest that it may wait.
    pub(super) max_wait: Duration,
    /// Until when it may wait; `None` is for ever.
    pub(super) deadline: Option<Instant>,
    reply_time: Duration,
}

// ===== impl WaitQueue =====

impl WaitQueue {
    pub(crate) fn new(look_again: Option<Duration>) -> Self {
        Self {
            head: Semaphore::const_new(1),
            changed: Notify::const_new(),
            closing: Notify::const_new(),
            waiting: AtomicUsize::new(0),
            units: AtomicU64::new(0),
            #[cfg(feature = "redis")]
            patience: AtomicU64::new(0),
            look_again,
        }
    }

    // Relaxed throughout: each is a lone number, and the semaphore orders the requests. Fences
    // order the requests with the changes that wake them.

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed) & !CLOSED
    }

    /// Returns whether the queue is open and empty, so that a request need not join it.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) == 0
    }

    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) & CLOSED != 0
    }

    /// Rejects all requests in the queue, and all that would join it.
    ///
    /// Each is woken by itself, so a request that is not polled does not hold up others. No wake-up
    /// is lost: the flag is set first, and read after registering.
    pub(crate) fn close(&self) {
        self.waiting.fetch_or(CLOSED, Ordering::Relaxed);
        self.head.close();
        self.changed.notify_waiters();
        self.closing.notify_waiters();
    }

    /// Waits until the queue is closed.
    async fn closed(&self) {
        loop {
            // Hears of all that happens from here on.
            let closing = self.closing.notified();
            if self.is_closed() {
                return;
            }
            closing.await;
        }
    }

    /// The units that all who wait ask for.
    pub(crate) fn units(&self) -> u64 {
        self.units.load(Ordering::Relaxed)
    }

    /// The longest that the head waits.
    #[cfg(feature = "redis")]
    pub(crate) fn patience(&self) -> Duration {
        Duration::from_nanos(self.patience.load(Ordering::Relaxed))
    }

    /// Lets the head look again after a change. A request that is just becoming the head is woken
    /// as well.
    ///
    /// No wake-up is lost. Either this sees the request in the queue, or the request, which looks
    /// only after it has joined, sees the change: the fences here and in `join` are in one order.
    #[inline]
    pub(crate) fn wake_head(&self) {
        fence(Ordering::SeqCst);
        if self.waiting() > 0 {
            self.changed.notify_one();
        }
    }

    fn join(&self, units: u64, max_waiting: usize) -> Result<(), Reason> {
        let relaxed = Ordering::Relaxed;
        let full = |max_waiting| Reason::QueueFull { max_waiting };
        // A closed queue has as many as that.
        let most = max_waiting.min(CLOSED - 1);
        let one_more = |waiting: usize| (waiting < most).then(|| waiting + 1);
        self.waiting
            .fetch_update(relaxed, relaxed, one_more)
            .map_err(|waiting| match waiting & CLOSED {
                0 => full(max_waiting),
                _ => Reason::Closed,
            })?;
        let more_units = |sum: u64| sum.checked_add(units);
        self.units
            .fetch_update(relaxed, relaxed, more_units)
            .map_err(|_| full((self.waiting.fetch_sub(1, relaxed) & !CLOSED) - 1))?;
        // Pairs with the one in `wake_head`.
        fence(Ordering::SeqCst);
        Ok(())
    }
}

// ===== impl WaitLimits =====

impl WaitLimits {
    pub(crate) const NONE: Self = Self {
        max_wait: None,
        max_waiting: usize::MAX,
        name: None,
    };
}

// ===== impl Waiter =====

impl Waiter {
    /// Joins the end of the queue, unless that is full.
    pub(crate) fn join(
        queue: Arc<WaitQueue>,
        units: u64,
        patience: Patience,
    ) -> Result<Self, Rejected> {
        let max_wait = patience.max_wait;
        let joined = queue.join(units, patience.max_waiting);
        joined.map_err(|reason| match reason {
            Reason::Closed => patience.rejected.closed(),
            full => patience.rejected.because(full),
        })?;
        Ok(Self {
            queue,
            units,
            is_head: false,
            is_waiting: true,
            max_wait,
            deadline: Instant::now().checked_add(max_wait),
            reply_time: patience.reply_time,
        })
    }

    /// Leaves the queue, before it is dropped. Returns whether it was in it.
    pub(crate) fn leave(&mut self) -> bool {
        let was_waiting = mem::take(&mut self.is_waiting);
        if was_waiting {
            self.queue.units.fetch_sub(self.units, Ordering::Relaxed);
            self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
            if self.is_head {
                self.queue.head.add_permits(1);
            }
        }
        was_waiting
    }

    /// When it has waited for too long, with the lateness of the timers of those ahead of it.
    pub(crate) fn last_instant(&self) -> Option<Instant> {
        self.deadline?.checked_add(TIMER_LATENESS)
    }

    /// Until when it may wait for a reply that says whether it has to wait.
    pub(super) fn reply_deadline(&self) -> Option<Instant> {
        self.deadline?.checked_add(self.reply_time)
    }

    /// The same, with the lateness of the timers of those ahead of it.
    pub(super) fn last_reply(&self) -> Option<Instant> {
        self.last_instant()?.checked_add(self.reply_time)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.queue.is_closed()
    }

    /// Waits to become the head of the queue. Returns `false` if the queue is closed.
    pub(crate) async fn reach_head(&mut self) -> bool {
        // `Waiter` gives the permit back by hand.
        if let Ok(permit) = self.queue.head.acquire().await {
            permit.forget();
            self.is_head = true;
            #[cfg(feature = "redis")]
            self.queue
                .patience
                .store(crate::limit::nanos(self.max_wait), Ordering::Relaxed);
        }
        self.is_head
    }

    /// Returns the rejection of a turn that is `late`, or whose queue is closed.
    pub(crate) fn expiry(&self, late: Rejected) -> Expiry {
        let (queue, last) = (self.queue.clone(), self.last_instant());
        let late = late.within(self.max_wait);
        Box::pin(async move {
            match before(last, queue.closed()).await {
                Some(()) => late.closed(),
                None => late,
            }
        })
    }

    /// For the head: waits until it was [woken](WaitQueue::wake_head) or the queue is closed, and
    /// until `at` at the latest.
    pub(crate) async fn changed_before(&self, at: Option<Instant>) {
        let changed = self.queue.changed.notified();
        if self.is_closed() {
            return;
        }
        let look_again = self.queue.look_again;
        let look_again = look_again.and_then(|wait| Instant::now().checked_add(wait));
        match at.into_iter().chain(look_again).min() {
            Some(first) => drop(timeout_at(first, changed).await),
            None => changed.await,
        }
    }
}

/// Waits for `future` until `deadline` at the latest.
pub(crate) async fn before<F: Future>(deadline: Option<Instant>, future: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, future).await.ok(),
        None => Some(future.await),
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(all(test, throttle_loom))]
mod loom_tests {
    use std::{
        pin::pin,
        task::{Context, Poll, Waker},
    };

    use loom::thread;

    use super::*;
    use crate::error::LimitKind;

    #[test]
    fn loom_a_change_wakes_the_head_or_is_seen() {
        crate::sync::model(|| {
            let queue = Arc::new(WaitQueue::new(None));
            let room = Arc::new(AtomicUsize::new(0));
            let (their_queue, their_room) = (queue.clone(), room.clone());
            let change = thread::spawn(move || {
                their_room.store(1, Ordering::Relaxed);
                their_queue.wake_head();
            });
            let patience = Patience {
                rejected: Rejected::too_long(LimitKind::Concurrency, Duration::ZERO, None),
                max_wait: Duration::MAX,
                reply_time: Duration::ZERO,
                max_waiting: usize::MAX,
            };
            let place = Waiter::join(queue, 1, patience).unwrap();
            let is_seen = room.load(Ordering::Relaxed) == 1;
            change.join().unwrap();
            let mut cx = Context::from_waker(Waker::noop());
            let is_woken = pin!(place.changed_before(None)).poll(&mut cx) == Poll::Ready(());
            assert!(is_seen || is_woken, "a lost wake-up");
        });
    }
}
