//! Those who wait for a slot, by priority.

use std::{pin::pin, sync::Arc, time::Duration};

use tokio::time::timeout_at;

use super::{Permit, Priority, slots::Slots};
use crate::{
    Limit, Rejected,
    limit::{Place, Queued, Turnstile, Waiting},
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
    let (limit, units) = (Limit::Concurrency, 1);
    Ok(match slots.lane(priority) {
        None => {
            let queue = slots.clone();
            let place = Place::join(queue, limit, units, expected, default_max_wait)?;
            Box::pin(slot(place))
        }
        Some(lane) => {
            let queue = lane.clone();
            let place = Place::join(queue, limit, units, expected, default_max_wait)?;
            Box::pin(share(slots.clone(), place, priority))
        }
    })
}

/// Waits to be the head of the queue, and then for a slot.
async fn slot(place: Place<Slots>) -> Result<Permit, Rejected> {
    let _settle = Settle(place.queue().clone());
    let mut place = place;
    place.reach_head().await;
    let slots = place.queue();
    // A slot that comes free as the time ends is taken.
    let taken = match place.deadline() {
        None => slots.acquire().await,
        Some(deadline) => timeout_at(deadline, slots.acquire()).await.ok().flatten(),
    };
    turn(taken, &place)
}

/// A permit is no more than a turn until the request is called: the inner service may not be ready yet.
fn turn<Q: Queued>(taken: Option<Permit>, place: &Place<Q>) -> Result<Permit, Rejected> {
    let taken = taken.map(Permit::bare);
    taken.ok_or_else(|| place.waited_too_long(Limit::Concurrency, None))
}

/// Waits to be the head of its queue, and then until there is room in the share of its priority.
async fn share(
    slots: Arc<Slots>,
    place: Place<Turnstile>,
    priority: Priority,
) -> Result<Permit, Rejected> {
    let _settle = Settle(slots.clone());
    let mut place = place;
    place.reach_head().await;
    let room = room(&slots, priority);
    let taken = match place.deadline() {
        None => Some(room.await),
        Some(deadline) => timeout_at(deadline, room).await.ok(),
    };
    turn(taken, &place)
}

async fn room(slots: &Arc<Slots>, priority: Priority) -> Permit {
    loop {
        // Listens before it looks.
        let mut freed = pin!(slots.freed());
        freed.as_mut().enable();
        if let Some(permit) = slots.take_share(priority) {
            return permit;
        }
        freed.await;
    }
}
