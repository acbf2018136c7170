//! The table for requests that wait.

use std::sync::Arc;

use super::{ClientKey, Kind, Shard, Table, Want, not_for_ever};
use crate::{
    error::Rejected,
    limit::{
        engine::{WaitQueue, Waiter},
        per_key::{admission::closed, by_key::Demand, kind::Count},
        priority::Priority,
    },
};

/// Whether there is room for a request, and the state of its key.
pub(in crate::limit::per_key) type Room<K> = (Result<(), Rejected>, <K as Count>::Left);

impl<K: Kind> Table<K> {
    /// Returns whether there is room for the head of the queue of a key, and the state of the key.
    pub(in crate::limit::per_key) fn room(&self, demand: &Demand<K::Plan>, now: u64) -> Room<K> {
        let hash = self.hash(&demand.counted_key());
        self.room_behind_units(&mut self.lock(hash), demand, 0, now)
    }

    /// The same for a new request with a priority. `None` if all requests in the queue of its key
    /// are ahead of it.
    pub(in crate::limit::per_key) fn room_behind(
        &self,
        demand: &Demand<K::Plan>,
        priority: Priority,
        now: u64,
    ) -> Option<Room<K>> {
        let key = demand.counted_key();
        let shard = &mut *self.lock(self.hash(&key));
        let ahead = shard.queues.units_ahead(&key, priority)?;
        Some(self.room_behind_units(shard, demand, ahead, now))
    }

    fn room_behind_units(
        &self,
        shard: &mut Shard<K>,
        demand: &Demand<K::Plan>,
        ahead: u64,
        now: u64,
    ) -> Room<K> {
        let key = demand.counted_key();
        let (rule, hash) = (shard.rule_of(demand.plan), self.hash(&key));
        let want = Want::at_once(demand.cost);
        let want = Want { ahead, ..want };
        let look = |count: &mut K, rule: &K::Rule| {
            count.adopt(rule, now);
            (count.room(rule, want, now), count.left(rule, now))
        };
        if let Some(row) = shard.rows.find_mut(hash, |row| row.key == key) {
            return look(&mut row.count, &rule);
        }
        let own = look(&mut K::default(), &rule);
        if self.keys() < self.max_keys || own.0.is_err() {
            return own;
        }
        let rule = shard.rule;
        let (room, left) = look(&mut shard.newcomers, &rule);
        (room.map_err(not_for_ever), left)
    }

    /// Joins the queue of `key`, or of new keys if the table is full.
    pub(in crate::limit::per_key) fn join(
        &self,
        key: ClientKey,
        join: impl FnOnce(Arc<WaitQueue>) -> Result<Waiter, Rejected>,
    ) -> Result<Waiter, Rejected> {
        let hash = self.hash(&key);
        // Under the lock, so that the queue is not removed meanwhile.
        let shard = &mut *self.lock(hash);
        if self.is_closed() {
            return Err(closed::<K>(K::name(&shard.rule)));
        }
        let has_own = self.keys() < self.max_keys
            || shard.rows.find(hash, |row| row.key == key).is_some()
            || shard.queues.units(&key) > 0;
        match has_own {
            true => shard.queues.join(key, join),
            false => join(shard.queues.newcomers.clone()),
        }
    }

    /// Removes an empty queue, and the row that was kept for it.
    pub(in crate::limit::per_key) fn leave(&self, key: ClientKey, now: u64) {
        let hash = self.hash(&key);
        let shard = &mut *self.lock(hash);
        shard.queues.leave(&key);
        if let Ok(row) = shard.rows.find_entry(hash, |row| row.key == key) {
            self.let_go_if_idle(row, &shard.queues, &mut shard.given, now);
        }
    }
}
