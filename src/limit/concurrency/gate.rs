//! The slots as the service uses them, and the queues for them, by priority.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Permit, Priority, slots::Slots};
use crate::{
    error::{LimitKind, Rejected},
    limit::engine::{Limiter, Patience, Turn, Waiter, Waiting, before},
};

#[cold]
fn full(limit: usize) -> Rejected {
    match limit {
        0 => Rejected::never(LimitKind::Concurrency, 1, 0),
        _ => Rejected::too_long(LimitKind::Concurrency, Duration::ZERO, None),
    }
}

impl Limiter for Arc<Slots> {
    type Ask = Priority;
    type Pass = Permit;
    type Turn = Slot;

    #[inline]
    fn enter(&self, priority: &Priority, _: Duration) -> Result<Permit, Rejected> {
        let taken = match priority {
            Priority::High => self.take(),
            Priority::Critical => Some(self.take_over()),
            Priority::Normal | Priority::Low => self.take_behind(*priority),
        };
        taken.ok_or_else(|| full(self.limit()))
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
    last: Option<Instant>,
    late: Rejected,
}

impl Turn<Permit> for Slot {
    fn deadline(&self) -> Option<(Instant, Rejected)> {
        Some((self.last?, self.late.clone()))
    }

    fn take(mut self) -> Result<Permit, Waiting<Self>> {
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
        place.reach_head().await;
        match priority {
            Priority::High | Priority::Critical => slots.acquire().await,
            Priority::Normal | Priority::Low => Some(room(&slots, priority).await),
        }
    };
    // A slot that comes free as the time ends is taken.
    let taken = before(deadline, slot).await.flatten();
    let late = Rejected::too_long(LimitKind::Concurrency, place.max_wait(), None);
    match taken.map(Permit::bare) {
        Some(permit) => Ok(Slot {
            permit,
            last: place.last_instant(),
            late,
        }),
        None => Err(late),
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
