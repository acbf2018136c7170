//! What the callers are allowed that have no plan of their own, which may change while they come.

use super::{Kind, Table, lock, wake};

impl<K: Kind> Table<K> {
    /// Gives every caller without a plan of its own another one. What they have used stays used.
    pub(in crate::limit::per_key) fn set_limits(&self, plan: K::Plan, now: u64) {
        self.set(Some(plan), |_| {}, now);
    }

    /// Changes what the limits are called in answers.
    pub(in crate::limit::per_key) fn rename(&self, rename: impl Fn(&mut K::Names)) {
        self.set(None, rename, 0);
    }

    fn set(&self, plan: Option<K::Plan>, rename: impl Fn(&mut K::Names), now: u64) {
        let mut waiting = Vec::new();
        {
            let _one_at_a_time = lock(&self.telling);
            let plan = plan.unwrap_or_else(|| self.limits());
            for shard in &self.shards {
                let shard = &mut *lock(shard);
                let before = shard.rule;
                let mut names = K::names(&before);
                rename(&mut names);
                let rule = K::rule(plan, names);
                let shared = std::iter::once(&mut shard.newcomers);
                let own = shard.rows.iter_mut().map(|row| &mut row.count);
                for count in shared.chain(own).filter(|count| count.follows(&before)) {
                    count.adopt(&rule, now);
                }
                (shard.plan, shard.rule) = (plan, rule);
                shard.look_again_at = 0;
                waiting.extend(shard.lines.all());
            }
        }
        wake(&waiting);
    }

    pub(in crate::limit::per_key) fn limits(&self) -> K::Plan {
        // There is at least one shard, and all have the same.
        lock(&self.shards[0]).plan
    }

    pub(in crate::limit::per_key) fn name(&self) -> Option<&'static str> {
        K::name(&lock(&self.shards[0]).rule)
    }

    pub(in crate::limit::per_key) fn names(&self) -> K::Names {
        K::names(&lock(&self.shards[0]).rule)
    }
}
