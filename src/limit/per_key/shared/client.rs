use std::{sync::Arc, time::Duration};

use super::ClientLinks;
use crate::limit::{
    algorithm::Mark,
    engine::WaitQueue,
    key::ClientKey,
    per_key::kind::Kind,
    priority::Priority,
    store::{
        call::{LimitSpec, StateKey},
        link::{Link, Marks, Shortage},
    },
};

/// A client that is in use.
#[derive(Debug)]
pub(super) struct ClientLink {
    pub(super) link: Arc<Link>,
    pub(super) queue: Arc<WaitQueue>,
    /// The number of limits.
    limits: usize,
    /// Whether new clients share it.
    pub(super) is_shared: bool,
}

/// What one request took of the limits of a client, to be settled.
pub(in crate::limit::per_key) struct LinkTicket<K: Kind> {
    /// It is not dropped before.
    pub(super) client: Arc<ClientLink>,
    pub(super) rule: K::Rule,
    pub(super) marks: Marks,
    pub(super) cost: u64,
}

// ===== impl ClientLink =====

impl ClientLink {
    /// Creates a client, or what new clients share.
    pub(super) fn new<K: Kind>(
        links: &ClientLinks<K>,
        key: ClientKey,
        limits: Arc<[LimitSpec]>,
        is_shared: bool,
    ) -> Arc<Self> {
        let look_again = limits.iter().map(|limit| links.store.look_again(limit));
        // New clients look whether there is room again, and find what their own link was granted
        // then: twice in a hold.
        let part = if is_shared { 4 } else { 1 };
        let queue = Arc::new(WaitQueue::new(look_again.min().map(|time| time / part)));
        let state = StateKey {
            name: links.name.clone(),
            client: Some(key.digest(&links.name)),
        };
        Arc::new(Self {
            limits: limits.len(),
            link: Link::new(links.store.clone(), state, limits, queue.clone()),
            queue,
            is_shared,
        })
    }

    /// Returns whether a request needs it, or the link knows what the store does not. Requests
    /// begin to need it only under the lock under which this is called.
    pub(super) fn is_in_use(self: &Arc<Self>) -> bool {
        Arc::strong_count(self) > 1 || self.queue.waiting() > 0 || !self.link.is_idle()
    }

    /// Takes `cost` units of each limit now.
    pub(super) fn take(&self, cost: u64, max_wait: Duration) -> Result<Marks, Shortage> {
        if self.queue.is_idle() || cost == 0 {
            return self.each(cost, |costs| self.link.take(costs, max_wait));
        }
        let exceeds = |limit: &LimitSpec| cost > limit.capacity();
        if let Some(limit) = self.link.limits().iter().position(exceeds) {
            return Err(Shortage::Never { limit });
        }
        let taken = self.each(cost, |costs| self.link.take_besides(costs));
        taken.ok_or_else(|| wait(self.each(cost, |costs| self.link.wait_behind(costs))))
    }

    /// Returns how long a request waits for those ahead of its priority, unless all are.
    pub(super) fn behind(&self, cost: u64, priority: Priority) -> Option<Shortage> {
        let ahead = self.queue.units_ahead(priority)?;
        Some(wait(
            self.each(cost, |costs| self.link.wait_after(costs, |_| ahead)),
        ))
    }

    /// Adds units that were used in addition to what was granted.
    pub(super) fn charge(&self, units: u64) {
        self.each(units, |units| self.link.charge(None, units));
    }

    /// Returns what is left by `rule`, as far as this process knows.
    pub(super) fn left<K: Kind>(&self, rule: &K::Rule) -> Option<K::Left> {
        let mut used = self.used().peekable();
        used.peek()?;
        Some(K::left_in_store(rule, &mut used))
    }

    /// Returns what is used of each limit, and the time until nothing is, as far as this process
    /// knows.
    pub(super) fn used(&self) -> impl Iterator<Item = (u64, Duration)> {
        let used = (0..self.limits).map_while(|limit| self.link.used(limit));
        used.map(|used| (used.units, used.resets_in))
    }

    /// Returns the units that are used of the limit of which the most are.
    pub(super) fn most_used(&self) -> u64 {
        self.used().map(|(units, _)| units).max().unwrap_or(0)
    }

    /// Calls `call` with the same cost for each limit.
    pub(super) fn each<T>(&self, cost: u64, call: impl FnOnce(&[u64]) -> T) -> T {
        match self.limits {
            1 => call(&[cost]),
            2 => call(&[cost; 2]),
            several => call(&vec![cost; several]),
        }
    }
}

// ===== impl LinkTicket =====

impl<K: Kind> LinkTicket<K> {
    /// Counts a cost that grows.
    pub(in crate::limit::per_key) fn charge(&mut self, cost: u64) {
        if cost > self.cost {
            self.client.charge(cost - self.cost);
            self.cost = cost;
        }
    }

    /// Replaces the cost by the real one. Returns what is left.
    pub(in crate::limit::per_key) fn settle(&mut self, real: u64) -> Option<K::Left> {
        let unused = self.cost.saturating_sub(real);
        if unused > 0 {
            let back = |mark: &Mark| Mark {
                cost: mark.cost.min(unused),
                ..*mark
            };
            let marks: Vec<_> = self.marks.iter().map(back).collect();
            self.client.link.refund(&marks);
        }
        self.charge(real);
        self.client.left::<K>(&self.rule)
    }
}

/// Returns the shortage of a request behind others.
fn wait(known: Option<Duration>) -> Shortage {
    known.map_or(Shortage::Reply, |wait| Shortage::Wait { limit: 0, wait })
}
