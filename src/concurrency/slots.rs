//! The slots that requests in flight hold, and the queue for them.

use std::{
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::Semaphore,
    time::{Instant, timeout_at},
};

use crate::{
    Limit, Reason, Rejected,
    limit::{Entry, Gate, Place, Queued, Turnstile, Waiting},
};

/// The state that all handles of one limiter share.
#[derive(Debug)]
pub struct Slots {
    free: Semaphore,
    /// Slots that must vanish when they are given back, since the limit was lowered while they were held.
    owed: AtomicUsize,
    /// The limit; the lock is for changing it.
    limit: Mutex<usize>,
    turnstile: Turnstile,
}

/// One request in flight. Dropping it lets the next one start.
#[must_use = "dropping it lets the next request start"]
pub struct Permit(Arc<Slots>);

// ===== impl Slots =====

impl Slots {
    pub(super) fn new(limit: usize) -> Self {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        Self {
            free: Semaphore::new(limit),
            owed: AtomicUsize::new(0),
            limit: Mutex::new(limit),
            turnstile: Turnstile::new(),
        }
    }

    pub(super) fn limit(&self) -> usize {
        *self.limit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_limit(&self, limit: usize) {
        let limit = limit.min(Semaphore::MAX_PERMITS);
        let mut current = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        if limit < *current {
            self.owed.fetch_add(*current - limit, Ordering::AcqRel);
            self.settle();
        } else {
            let mut more = limit - *current;
            while more > 0 && self.pay_off() {
                more -= 1;
            }
            self.free.add_permits(more);
        }
        *current = limit;
    }

    pub(super) fn in_flight(&self) -> usize {
        let limit = self.limit.lock().unwrap_or_else(PoisonError::into_inner);
        (*limit + self.owed.load(Ordering::Acquire)).saturating_sub(self.free.available_permits())
    }

    /// Lets free slots vanish as long as some are owed.
    fn settle(&self) {
        // Written to, not only read: of one who gives a slot back and one who lowers the limit at the same time, the one
        // that writes later sees both the free slot and the debt. AcqRel for the same reason.
        while self.owed.fetch_add(0, Ordering::AcqRel) > 0 && self.free.forget_permits(1) == 1 {
            if !self.pay_off() {
                self.free.add_permits(1);
            }
        }
    }

    /// Takes one slot off the debt, if there is a debt.
    fn pay_off(&self) -> bool {
        // The common case is a plain load.
        self.owed.load(Ordering::Acquire) > 0
            && self
                .owed
                .fetch_update(Ordering::AcqRel, Ordering::Acquire, |owed| {
                    owed.checked_sub(1)
                })
                .is_ok()
    }
}

impl Queued for Slots {
    #[allow(private_interfaces)]
    fn turnstile(&self) -> &Turnstile {
        &self.turnstile
    }
}

impl Gate for Arc<Slots> {
    type Ask = u64;
    type Pass = Permit;
    type Turn = Permit;

    fn enter(&self, _: &u64) -> Entry<Permit> {
        if self.turnstile.waiting() == 0 {
            if let Ok(slot) = self.free.try_acquire() {
                slot.forget();
                return Entry::Pass(Permit(self.clone()));
            }
        }
        if self.limit() == 0 {
            let (cost, capacity) = (1, 0);
            let reason = Reason::NeverFits { cost, capacity };
            return Entry::Never(Rejected::new(Limit::Concurrency, reason, None));
        }
        Entry::Wait(None)
    }

    fn wait(
        &self,
        cost: u64,
        expected: Option<Duration>,
        default_max_wait: Duration,
    ) -> Result<Waiting<Permit>, Rejected> {
        let limit = Limit::Concurrency;
        let place = Place::join(self.clone(), limit, cost, expected, default_max_wait)?;
        Ok(Box::pin(slot(place)))
    }

    /// A slot is kept from nobody but by the limit itself.
    fn deadline(_: &Permit) -> Option<(Instant, Rejected)> {
        None
    }

    fn take(turn: Permit) -> Result<Permit, Waiting<Permit>> {
        Ok(turn)
    }
}

/// Waits to be the head of the queue, and then for a slot.
async fn slot(mut place: Place<Slots>) -> Result<Permit, Rejected> {
    place.reach_head().await;
    let slots = place.queue();
    // The semaphore is never closed. A slot that comes free as the time ends is taken.
    let taken = match place.deadline() {
        None => slots.free.acquire().await.ok(),
        Some(deadline) => timeout_at(deadline, slots.free.acquire())
            .await
            .ok()
            .and_then(Result::ok),
    };
    match taken {
        Some(slot) => {
            slot.forget();
            Ok(Permit(slots.clone()))
        }
        None => Err(place.waited_too_long(Limit::Concurrency, None)),
    }
}

// ===== impl Permit =====

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.0.pay_off() {
            self.0.free.add_permits(1);
            self.0.settle();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("in_flight", &self.0.in_flight())
            .finish_non_exhaustive()
    }
}
