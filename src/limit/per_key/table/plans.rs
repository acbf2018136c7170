//! The limits of keys without their own, which can change at run time.

use super::{Kind, Table, wake};
use crate::sync::unpoisoned;

impl<K: Kind> Table<K> {
    /// Changes the plan of every key without one of its own, or the names of the limits in
    /// responses. What was used stays used.
    pub(in crate::limit::per_key) fn change_plan(
        &self,
        change: impl Fn(&mut K::Plan, &mut K::Names),
        now: u64,
    ) {
        let mut waiting = Vec::new();
        {
            let _one_at_a_time = unpoisoned(self.changing.lock());
            for shard in &self.shards {
                let shard = &mut *unpoisoned(shard.lock());
                let before = shard.rule;
                change(&mut shard.plan, &mut shard.names);
                let rule = K::rule(shard.plan, shard.names);
                let shared = std::iter::once(&mut shard.newcomers);
                let own = shard.rows.iter_mut().map(|row| &mut row.count);
                for count in shared.chain(own).filter(|count| count.follows(&before)) {
                    count.adopt(&rule, now);
                }
                shard.rule = rule;
                shard.look_again_at = 0;
                waiting.extend(shard.queues.all());
            }
        }
        wake(&waiting);
    }

    pub(in crate::limit::per_key) fn name(&self) -> Option<&'static str> {
        K::name(&unpoisoned(self.shards[0].lock()).rule)
    }

    pub(in crate::limit::per_key) fn limits_and_names(&self) -> (K::Plan, K::Names) {
        // There is at least one shard, and all have the same plan.
        let shard = unpoisoned(self.shards[0].lock());
        (shard.plan, shard.names)
    }
}
