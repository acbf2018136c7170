//! The queues of requests that wait: one per key, and one for new keys in a full table.

use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    error::Rejected,
    limit::{
        engine::{Patience, WaitQueue, Waiter},
        key::ClientKey,
        priority::Priority,
    },
};

/// The queues of a part of the table, by the key for which requests wait. `None` is for all keys
/// that were new when the table was full, and wait for the limit that they share.
#[derive(Default)]
pub(super) struct Queues(HashMap<Option<ClientKey>, Arc<WaitQueue>>);

/// How long new keys in a full table wait for the limit that they share before they look whether
/// there is room again.
const NEWCOMERS_LOOK_AGAIN: Duration = Duration::from_secs(1);

// ===== impl Queues =====

impl Queues {
    /// Returns the units that the requests in a queue ask for, at least 1 unless it is empty.
    #[inline]
    pub(super) fn units(&self, key: Option<ClientKey>) -> u64 {
        self.0.get(&key).map_or(0, |queue| match queue.waiting() {
            // The last request is just leaving.
            0 => 0,
            _ => queue.units().max(1),
        })
    }

    /// Returns the units ahead of a new request in the queue of a key, unless all are ahead of it.
    pub(super) fn units_ahead(&self, key: ClientKey, priority: Priority) -> Option<u64> {
        self.0.get(&Some(key))?.units_ahead(priority)
    }

    /// Adds a request to a queue, which is created if there is none.
    pub(super) fn join(
        &mut self,
        key: Option<ClientKey>,
        units: u64,
        patience: Patience,
    ) -> Result<Waiter, Rejected> {
        let look_again = key.is_none().then_some(NEWCOMERS_LOOK_AGAIN);
        let queue = self.0.get(&key).cloned();
        let queue = queue.unwrap_or_else(|| Arc::new(WaitQueue::new(look_again)));
        let place = Waiter::join(queue.clone(), units, patience)?;
        self.0.insert(key, queue);
        Ok(place)
    }

    /// Removes the queues that a request of a key may have left, if they are empty.
    pub(super) fn leave(&mut self, key: ClientKey) {
        for key in [Some(key), None] {
            let queue = self.0.get(&key);
            if queue.is_some_and(|queue| queue.waiting() == 0) {
                self.0.remove(&key);
            }
        }
        if self.0.is_empty() {
            self.0 = HashMap::new();
        }
    }

    /// Returns the queues in which requests of `key` wait: its own, and the one of new keys.
    pub(super) fn of(&self, key: ClientKey) -> Vec<Arc<WaitQueue>> {
        let queues = [Some(key), None].map(|key| self.0.get(&key));
        queues.into_iter().flatten().cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<WaitQueue>> {
        self.0.values().cloned().collect()
    }
}
