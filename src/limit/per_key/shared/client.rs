use std::{sync::Arc, time::Duration};

use super::ClientLinks;
use crate::limit::{
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
#[derive(Debug, Clone)]
pub(super) struct ClientLink {
    pub(super) key: ClientKey,
    pub(super) link: Arc<Link>,
    pub(super) queue: Arc<WaitQueue>,
    pub(super) limits: Arc<[LimitSpec]>,
    /// Whether new clients share it.
    pub(super) is_shared: bool,
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
        let link = Link::new(links.store.clone(), state, limits.clone(), queue.clone());
        Arc::new(Self {
            key,
            link,
            queue,
            limits,
            is_shared,
        })
    }

    /// Sets the limits, if there are others. Returns the client with them, and whether there were.
    pub(super) fn change(
        self: &mut Arc<Self>,
        limits: Option<Arc<[LimitSpec]>>,
    ) -> (Arc<Self>, bool) {
        let is_changed = limits.is_some();
        if let Some(limits) = limits {
            // The same link has them for all who use it.
            self.link.set_limits(&limits);
            *self = Arc::new(Self {
                limits,
                ..(**self).clone()
            });
        }
        (self.clone(), is_changed)
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
        if let Some(limit) = self.limits.iter().position(exceeds) {
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

    pub(super) fn look(&self, cost: u64) -> Result<(), Shortage> {
        self.each(cost, |costs| self.link.look(costs))
    }

    pub(super) fn take_in_turn(&self, cost: u64) -> Option<Marks> {
        self.each(cost, |costs| self.link.take_in_turn(costs))
    }

    /// Adds units that were used in addition to what was granted.
    pub(super) fn charge(&self, units: u64) {
        self.each(units, |units| self.link.charge(None, units));
    }

    /// Returns what is used of each limit, and the time until nothing is, as far as this process
    /// knows.
    pub(super) fn used(&self) -> impl Iterator<Item = (u64, Duration)> {
        let limits = 0..self.limits.len();
        let used = limits.map_while(|limit| self.link.used(limit));
        used.map(|used| (used.units, used.resets_in))
    }

    /// Returns the units that are used of the limit of which the most are.
    pub(super) fn most_used(&self) -> u64 {
        self.used().map(|(units, _)| units).max().unwrap_or(0)
    }

    /// Calls `call` with the same cost for each limit.
    fn each<T>(&self, cost: u64, call: impl FnOnce(&[u64]) -> T) -> T {
        match self.limits.len() {
            1 => call(&[cost]),
            2 => call(&[cost; 2]),
            several => call(&vec![cost; several]),
        }
    }
}

/// Returns the shortage of a request behind others.
fn wait(known: Option<Duration>) -> Shortage {
    known.map_or(Shortage::Reply, |wait| Shortage::Wait { limit: 0, wait })
}
