//! The limits of keys without their own, which can change at run time.

use super::{Kind, Table, wake};
use crate::sync::unpoisoned;

impl<K: Kind> Table<K> {
    /// Sets the plan of every key without one of its own. What was used stays used.
    pub(in crate::limit::per_key) fn set_limits(&self, plan: K::Plan, now: u64) {
        self.set(Some(plan), |_| {}, now);
    }

    /// Changes the names of the limits in responses.
    pub(in crate::limit::per_key) fn rename(&self, rename: impl Fn(&mut K::Names)) {
        self.set(None, rename, 0);
    }

    fn set(&self, plan: Option<K::Plan>, rename: impl Fn(&mut K::Names), now: u64) {
        let mut waiting = Vec::new();
        {
            let _one_at_a_time = unpoisoned(self.changing.lock());
            let plan = plan.unwrap_or_else(|| self.limits());
            for shard in &self.shards {
                let shard = &mut *unpoisoned(shard.lock());
                let before = shard.rule;
                rename(&mut shard.names);
                let rule = K::rule(plan, shard.names);
                let shared = std::iter::once(&mut shard.newcomers);
                let own = shard.rows.iter_mut().map(|row| &mut row.count);
                for count in shared.chain(own).filter(|count| count.follows(&before)) {
                    count.adopt(&rule, now);
                }
                (shard.plan, shard.rule) = (plan, rule);
                shard.look_again_at = 0;
                waiting.extend(shard.queues.all());
            }
        }
        wake(&waiting);
    }

    pub(in crate::limit::per_key) fn limits(&self) -> K::Plan {
        // There is at least one shard, and all have the same plan.
        unpoisoned(self.shards[0].lock()).plan
    }

    pub(in crate::limit::per_key) fn name(&self) -> Option<&'static str> {
        K::name(&unpoisoned(self.shards[0].lock()).rule)
    }

    pub(in crate::limit::per_key) fn names(&self) -> K::Names {
        unpoisoned(self.shards[0].lock()).names
    }
}
