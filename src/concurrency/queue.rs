//! Those who wait for a slot, by priority.

use std::{pin::pin, sync::Arc};

use tokio::time::timeout_at;

use super::{Permit, Priority, slots::Slots};
use crate::{
    Limit, Rejected,
    limit::{Place, Turnstile},
};

/// Settles what one who leaves a queue has left, once all that was declared after it has been dropped.
struct Settle(Arc<Slots>);

impl Drop for Settle {
    fn drop(&mut self) {
        self.0.settle();
    }
}

/// Waits to be the head of its queue, and then for a slot.
///
/// The permit is no more than a turn until the request is called: the inner service may not be ready yet.
pub(super) async fn slot(
    slots: Arc<Slots>,
    place: Place<Turnstile>,
    priority: Priority,
) -> Result<Permit, Rejected> {
    let _settle = Settle(slots.clone());
    let mut place = place;
    place.reach_head().await;
    let slot = async {
        match priority {
            Priority::High | Priority::Critical => slots.acquire().await,
            Priority::Normal | Priority::Low => Some(room(&slots, priority).await),
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
