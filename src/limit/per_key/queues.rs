//! The queues of requests that wait: one per key, and one for new keys in a full table.

use std::{sync::Arc, time::Duration};

use hashbrown::{HashTable, hash_table::Entry};

use crate::{
    error::Rejected,
    limit::{
        engine::{WaitQueue, Waiter},
        key::ClientKey,
    },
};

/// The queues of some keys, and of some new keys.
#[derive(Default)]
pub(super) struct Queues(HashTable<KeyQueue>);

struct KeyQueue {
    owner: Owner,
    hash: u64,
    queue: Arc<WaitQueue>,
}

/// The owner of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Owner {
    Key(ClientKey),
    /// All keys that were new when the table was full, and wait for the limit that they share.
    Newcomers,
}

/// How long new keys in a full table wait for the limit that they share before they look whether
/// there is room again.
const NEWCOMERS_LOOK_AGAIN: Duration = Duration::from_secs(1);

// ===== impl Owner =====

impl Owner {
    /// Returns the hash of its key, if it belongs to one.
    fn hash(self, key_hash: u64) -> u64 {
        match self {
            Self::Key(_) => key_hash,
            Self::Newcomers => 0,
        }
    }
}

// ===== impl Queues =====

impl Queues {
    /// Returns the units that the requests in a queue ask for, at least 1 unless it is empty.
    #[inline]
    pub(super) fn units(&self, hash: u64, owner: Owner) -> u64 {
        let queue = self.find(hash, owner);
        queue.map_or(0, |queue| match queue.waiting() {
            // The last request is just leaving.
            0 => 0,
            _ => queue.units().max(1),
        })
    }

    #[inline]
    fn find(&self, hash: u64, owner: Owner) -> Option<&Arc<WaitQueue>> {
        if self.0.is_empty() {
            return None;
        }
        let is_theirs = |of_key: &KeyQueue| of_key.owner == owner;
        let of_key = self.0.find(owner.hash(hash), is_theirs)?;
        Some(&of_key.queue)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a request to a queue, which is created if there is none.
    pub(super) fn join(
        &mut self,
        hash: u64,
        owner: Owner,
        join: impl FnOnce(Arc<WaitQueue>) -> Result<Waiter, Rejected>,
    ) -> Result<Waiter, Rejected> {
        let hash = owner.hash(hash);
        let is_theirs = |of_key: &KeyQueue| of_key.owner == owner;
        match self.0.entry(hash, is_theirs, |of_key| of_key.hash) {
            Entry::Occupied(of_key) => join(of_key.get().queue.clone()),
            Entry::Vacant(none) => {
                let is_shared = owner == Owner::Newcomers;
                let look_again = is_shared.then_some(NEWCOMERS_LOOK_AGAIN);
                let queue = Arc::new(WaitQueue::new(look_again));
                let place = join(queue.clone())?;
                none.insert(KeyQueue { owner, hash, queue });
                Ok(place)
            }
        }
    }

    /// Removes the queues in which a request of `key` may have waited, if they are empty.
    pub(super) fn leave(&mut self, hash: u64, key: ClientKey) {
        for owner in [Owner::Key(key), Owner::Newcomers] {
            let is_over = |of_key: &KeyQueue| of_key.owner == owner && of_key.queue.waiting() == 0;
            if let Ok(of_key) = self.0.find_entry(owner.hash(hash), is_over) {
                of_key.remove();
            }
        }
        if self.0.is_empty() {
            self.0 = HashTable::new();
        }
    }

    /// Returns the queues in which requests of `key` may wait: its own, and the one of new keys.
    pub(super) fn of(&self, hash: u64, key: ClientKey) -> Vec<Arc<WaitQueue>> {
        let both = [Owner::Key(key), Owner::Newcomers];
        let queues = both.iter().filter_map(|owner| self.find(hash, *owner));
        queues.cloned().collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<WaitQueue>> {
        self.0.iter().map(|of_key| of_key.queue.clone()).collect()
    }
}
