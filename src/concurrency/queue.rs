//! Those who wait for a slot, by priority.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::timeout_at;

use super::{Permit, Priority, slots::Slots};
use crate::{
    Limit, Rejected,
    limit::{Place, Queued, Waiting},
};

/// Settles what one who leaves a queue has left, once all that was declared after it has been dropped.
struct Settle(Arc<Slots>);

impl Drop for Settle {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// Joins the end of the queue of its priority.
pub(super) fn join(
    slots: &Arc<Slots>,
    priority: Priority,
    expected: Option<Duration>,
    default_max_wait: Duration,
) -> Result<Waiting<Permit>, Rejected> {
    match slots.lane(priority) {
        None => join_queue(slots, slots, priority, expected, default_max_wait),
        Some(lane) => join_queue(lane, slots, priority, expected, default_max_wait),
    }
}

fn join_queue<Q: Queued + Send + Sync + 'static>(
    queue: &Arc<Q>,
    slots: &Arc<Slots>,
    priority: Priority,
    expected: Option<Duration>,
    default_max_wait: Duration,
) -> Result<Waiting<Permit>, Rejected> {
    let limit = Limit::Concurrency;
    let place = Place::join(queue.clone(), limit, 1, expected, default_max_wait)?;
    let slots = slots.clone();
    Ok(Box::pin(async move {
        let _settle = Settle(slots.clone());
        let mut place = place;
        place.reach_head().await;
        let room = room(&slots, priority);
        // A slot that comes free as the time ends is taken.
        let permit = match place.deadline() {
            None => room.await,
            Some(deadline) => timeout_at(deadline, room).await.ok().flatten(),
        };
        // No more than a turn until the request is called: the inner service may not be ready yet.
        let turn = permit.map(Permit::bare);
        turn.ok_or_else(|| place.waited_too_long(limit, None))
    }))
}

/// Waits, as the head of a queue, until there is room in the share of its priority. The semaphore is
/// never closed.
async fn room(slots: &Arc<Slots>, priority: Priority) -> Option<Permit> {
    if slots.lane(priority).is_none() {
        return slots.acquire().await;
    }
    loop {
        // Listens before it looks.
        let mut freed = pin!(slots.freed());
        freed.as_mut().enable();
        if let Some(permit) = slots.take_share(priority) {
            return Some(permit);
        }
        freed.await;
    }
}
