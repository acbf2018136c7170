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

/// The queues of a part of the table.
pub(super) struct Queues {
    /// Of the keys for which requests wait.
    keys: HashMap<ClientKey, Arc<WaitQueue>>,
    /// Of all keys that were new when the table was full, and wait for the limit that they share.
    pub(super) newcomers: Arc<WaitQueue>,
}

/// How long new keys in a full table wait for the limit that they share before they look whether
/// there is room again.
const NEWCOMERS_LOOK_AGAIN: Duration = Duration::from_secs(1);

// ===== impl Queues =====

impl Queues {
    /// Returns the units that the requests in the queue of a key ask for, at least 1 unless it is
    /// empty.
    #[inline]
    pub(super) fn units(&self, key: &ClientKey) -> u64 {
        self.keys.get(key).map_or(0, |queue| units(queue))
    }

    /// Returns the units ahead of a new request in the queue of a key, unless all are ahead of it.
    pub(super) fn units_ahead(&self, key: &ClientKey, priority: Priority) -> Option<u64> {
        self.keys.get(key)?.units_ahead(priority)
    }

    /// Returns the units in the queue of new keys.
    pub(super) fn newcomers_units(&self) -> u64 {
        units(&self.newcomers)
    }

    /// Adds a request to the queue of a key, which is created if there is none.
    pub(super) fn join(
        &mut self,
        key: ClientKey,
        units: u64,
        patience: Patience,
    ) -> Result<Waiter, Rejected> {
        let queue = self.keys.get(&key).cloned();
        let queue = queue.unwrap_or_else(|| Arc::new(WaitQueue::new(None)));
        let place = Waiter::join(queue.clone(), units, patience)?;
        self.keys.insert(key, queue);
        Ok(place)
    }

    /// Removes the queue of a key if it is empty.
    pub(super) fn leave(&mut self, key: &ClientKey) {
        let queue = self.keys.get(key);
        if queue.is_some_and(|queue| queue.waiting() == 0) {
            self.keys.remove(key);
        }
        if self.keys.is_empty() {
            self.keys = HashMap::new();
        }
    }

    /// Returns the queues in which requests of `key` wait: its own, and the one of new keys.
    pub(super) fn of(&self, key: &ClientKey) -> Vec<Arc<WaitQueue>> {
        let own = self.keys.get(key).into_iter();
        own.chain(self.waiting_newcomers()).cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<WaitQueue>> {
        let own = self.keys.values();
        own.chain(self.waiting_newcomers()).cloned().collect()
    }

    fn waiting_newcomers(&self) -> Option<&Arc<WaitQueue>> {
        Some(&self.newcomers).filter(|queue| queue.waiting() > 0)
    }
}

impl Default for Queues {
    fn default() -> Self {
        Self {
            keys: HashMap::new(),
            newcomers: Arc::new(WaitQueue::new(Some(NEWCOMERS_LOOK_AGAIN))),
        }
    }
}

fn units(queue: &WaitQueue) -> u64 {
    match queue.waiting() {
        // The last request is just leaving.
        0 => 0,
        _ => queue.units().max(1),
    }
}
