//! The slots as the service uses them, and the queues for them, by priority.

use std::{future::ready, pin::pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Permit, Priority, slots::Slots};
use crate::{
    error::{LimitKind, Rejected},
    limit::engine::{Expiry, Limiter, Patience, Turn, WaitQueue, Waiter, Waiting, before},
};

#[cold]
fn full(slots: &Slots) -> Rejected {
    match slots.limit() {
        _ if slots.is_closed() => late(Duration::ZERO).closed(),
        0 => Rejected::never(LimitKind::Concurrency, 1, 0),
        _ => late(Duration::ZERO),
    }
}

fn late(max_wait: Duration) -> Rejected {
    Rejected::too_long(LimitKind::Concurrency, max_wait, None)
}

impl Limiter for Arc<Slots> {
    type Ask = Priority;
    type Pass = Permit;
    type Turn = Slot;

    #[inline]
    fn enter(&self, priority: &Priority, _: Duration) -> Result<Permit, Rejected> {
        let taken = match priority {
            Priority::High => self.take(),
            Priority::Critical => (!self.is_closed()).then(|| self.take_over()),
            Priority::Normal | Priority::Low => self.take_behind(*priority),
        };
        taken.ok_or_else(|| full(self))
    }

    fn join(&self, priority: Priority, patience: Patience) -> Result<Waiting<Slot>, Rejected> {
        let place = Waiter::join(self.lane(priority).clone(), 1, patience)?;
        Ok(Box::pin(slot(self.clone(), place, priority)))
    }
}

/// The slot of a queued request, and the time until which it is reserved.
#[derive(Debug)]
pub struct Slot {
    permit: Permit,
    queue: Arc<WaitQueue>,
    last: Option<Instant>,
    max_wait: Duration,
}

impl Turn<Permit> for Slot {
    fn expiry(&self) -> Expiry {
        let (queue, last) = (self.queue.clone(), self.last);
        queue.expiry(last, late(self.max_wait))
    }

    fn take(mut self) -> Result<Permit, Waiting<Self>> {
        if self.queue.is_closed() {
            let rejected = late(self.max_wait).closed();
            return Err(Box::pin(ready(Err(rejected))));
        }
        self.permit.start();
        Ok(self.permit)
    }
}

/// Settles the slots when a waiter leaves a queue, after all that was declared later is dropped.
struct SettleOnDrop(Arc<Slots>);

impl Drop for SettleOnDrop {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// Waits for the head of the queue, and then for a slot.
///
/// The permit only reserves the slot until the request is called, because the inner service may not
/// be ready yet.
async fn slot(slots: Arc<Slots>, place: Waiter, priority: Priority) -> Result<Slot, Rejected> {
    let _settle = SettleOnDrop(slots.clone());
    let mut place = place;
    let deadline = place.deadline();
    let slot = async {
        if !place.reach_head().await {
            return None;
        }
        let slot = async {
            match priority {
                Priority::High | Priority::Critical => slots.acquire().await,
                Priority::Normal | Priority::Low => Some(room(&slots, priority).await),
            }
        };
        place.while_open(slot).await?
    };
    // A slot that comes free as the time ends is taken.
    let taken = before(deadline, slot).await.flatten();
    let max_wait = place.max_wait();
    match taken.map(Permit::bare) {
        Some(permit) => Ok(Slot {
            permit,
            queue: slots.lane(priority).clone(),
            last: place.last_instant(),
            max_wait,
        }),
        None if place.is_closed() => Err(late(max_wait).closed()),
        None => Err(late(max_wait)),
    }
}

/// Waits until there is room in the share of a priority.
async fn room(slots: &Arc<Slots>, priority: Priority) -> Permit {
    loop {
        // Registers before it checks, so that no wake-up is lost.
        let mut freed = pin!(slots.freed());
        freed.as_mut().enable();
        if let Some(permit) = slots.take_share(priority) {
            return permit;
        }
        freed.await;
    }
}
