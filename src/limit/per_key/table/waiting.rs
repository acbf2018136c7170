//! What those ask of the table who wait.

use std::sync::Arc;

use super::{ClientKey, Kind, Table, Want, Whose, not_for_ever};
use crate::{
    error::Rejected,
    limit::engine::{WaitQueue, Waiter},
};

impl<K: Kind> Table<K> {
    /// Whether one request of `caller` that is next in line would find room, and how its caller stands.
    pub(in crate::limit::per_key) fn room(
        &self,
        caller: ClientKey,
        plan: Option<K::Plan>,
        cost: u64,
        now: u64,
    ) -> (Result<(), Rejected>, K::Left) {
        let hash = self.hash(&caller);
        let shard = &mut *self.lock(hash);
        let want = Want::at_once(cost);
        let rule = shard.rule_of(plan);
        let look = |count: &mut K, rule: &K::Rule| {
            count.adopt(rule, now);
            (count.room(rule, want, now), count.left(rule, now))
        };
        if let Some(row) = shard.rows.find_mut(hash, |row| row.caller == caller) {
            return look(&mut row.count, &rule);
        }
        let own = look(&mut K::default(), &rule);
        if self.callers() < self.max_callers || own.0.is_err() {
            return own;
        }
        let rule = shard.rule;
        let (room, left) = look(&mut shard.newcomers, &rule);
        (room.map_err(not_for_ever), left)
    }

    /// Puts a request at the end of a line, or says why not: of its caller's, or where that is a newcomer to a full table, of theirs.
    pub(in crate::limit::per_key) fn join(
        &self,
        caller: ClientKey,
        join: impl FnOnce(Arc<WaitQueue>) -> Result<Waiter, Rejected>,
    ) -> Result<Waiter, Rejected> {
        let hash = self.hash(&caller);
        // Under the lock, so that nobody lets go of the line meanwhile.
        let shard = &mut *self.lock(hash);
        let own = Whose::ClientKey(caller);
        let has_own = self.callers() < self.max_callers
            || shard.rows.find(hash, |row| row.caller == caller).is_some()
            || shard.lines.units(hash, own) > 0;
        let whose = if has_own { own } else { Whose::Newcomers };
        shard.lines.join(hash, whose, join)
    }

    /// Lets go of a line in which nobody waits any more, and of what was kept for those.
    pub(in crate::limit::per_key) fn leave(&self, caller: ClientKey, now: u64) {
        let hash = self.hash(&caller);
        let shard = &mut *self.lock(hash);
        shard.lines.leave(hash, caller);
        if let Ok(row) = shard.rows.find_entry(hash, |row| row.caller == caller) {
            self.let_go_if_idle(row, &shard.lines, &mut shard.given, hash, now);
        }
    }
}
