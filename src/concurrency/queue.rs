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
    rejected: Rejected,
    max_wait: Duration,
) -> Result<Waiting<Permit>, Rejected> {
    let max_waiting = slots.bounds.max_waiting();
    let slots = slots.clone();
    Ok(match slots.lane(priority) {
        None => {
            let queue = slots.clone();
            let place = Place::join(queue, 1, rejected, max_wait, max_waiting)?;
            Box::pin(slot(slots, place, priority))
        }
        Some(lane) => {
            let place = Place::join(lane.clone(), 1, rejected, max_wait, max_waiting)?;
            Box::pin(slot(slots, place, priority))
        }
    })
}

/// Waits to be the head of its queue, and then for a slot.
///
/// The permit is no more than a turn until the request is called: the inner service may not be ready yet.
async fn slot<Q: Queued>(
    slots: Arc<Slots>,
    place: Place<Q>,
    priority: Priority,
) -> Result<Permit, Rejected> {
    let _settle = Settle(slots.clone());
    let mut place = place;
    place.reach_head().await;
    let slot = async {
        match slots.lane(priority) {
            None => slots.acquire().await,
            Some(_) => Some(room(&slots, priority).await),
        }
    };
    // A slot that comes free as the time ends is taken.
    let taken = match place.deadline() {
        None => slot.await,
        Some(deadline) => timeout_at(deadline, slot).await.ok().flatten(),
    };
    let too_long = || Rejected::too_long(Limit::Concurrency, place.max_wait(), None);
    taken.map(Permit::bare).ok_or_else(too_long)
}

/// Waits until there is room in the share of a priority.
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
