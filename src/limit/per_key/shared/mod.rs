//! Limits of clients that several processes share: each client that is in use has a [`Link`].
//!
//! A client whose limits are as if unused needs no link. It is dropped with a beat of the store, or
//! if there is no room for a new one.

mod admission;
mod client;

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::Instant;

use self::client::ClientLink;
pub(super) use self::client::LinkTicket;
use super::{by_key::Demand, kind::Kind};
use crate::{
    error::{LimitKind, Rejected},
    limit::{
        engine::{Patience, Waiter},
        key::ClientKey,
        store::{
            call::LimitSpec,
            handle::{Handle, LeaveFuture, StoreMember},
        },
    },
    sync::unpoisoned,
};

/// A prime number, so that all bytes of a key count.
const SHARDS: usize = 61;

/// How many shards are searched for idle clients with each beat.
const SHARDS_A_BEAT: usize = 8;

/// The shortest time between two searches of a shard that is full.
const PAUSE: Duration = Duration::from_millis(100);

/// The clients of a limiter that are in use.
pub(super) struct ClientLinks<K: Kind> {
    store: Arc<Handle>,
    name: Arc<str>,
    rules: RwLock<Rules<K>>,
    shards: Box<[Mutex<Shard>]>,
    max_keys: usize,
    /// The number of clients.
    keys: AtomicUsize,
    /// Where the search for idle clients continues.
    next_shard: AtomicUsize,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Shard {
    clients: HashMap<ClientKey, Arc<ClientLink>>,
    /// What new clients share if there is no room for them.
    newcomers: Option<Arc<ClientLink>>,
    /// If there was no room: when the next search may find an idle client.
    search_at: Option<Instant>,
}

/// The limits of each client that has none of its own.
struct Rules<K: Kind> {
    names: K::Names,
    rule: K::Rule,
    limits: Arc<[LimitSpec]>,
    /// The kind and the name of each limit.
    labels: Vec<(LimitKind, &'static str)>,
}

// ===== impl ClientLinks =====

impl<K: Kind> ClientLinks<K> {
    pub(super) fn new(
        store: Arc<Handle>,
        name: Arc<str>,
        (plan, names): (K::Plan, K::Names),
        max_keys: usize,
    ) -> Arc<Self> {
        let links = Arc::new(Self {
            store,
            name,
            rules: RwLock::new(Rules::new(plan, names)),
            shards: std::iter::repeat_with(Mutex::default)
                .take(SHARDS)
                .collect(),
            max_keys,
            keys: AtomicUsize::new(0),
            next_shard: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
        });
        let member: Arc<dyn StoreMember> = links.clone();
        links.store.add(&member);
        links
    }

    /// Returns the store and the name in it.
    pub(super) fn place(&self) -> (Arc<Handle>, Arc<str>) {
        (self.store.clone(), self.name.clone())
    }

    /// Sets the limits of each client that has none of its own.
    pub(super) fn set_limits(&self, plan: K::Plan, names: K::Names) {
        *unpoisoned(self.rules.write()) = Rules::new(plan, names);
        // Each client gets its new limits with its next look.
        self.wake();
    }

    /// Returns the client of a request, or the one that new clients share.
    fn client(&self, demand: &Demand<K::Plan>) -> Arc<ClientLink> {
        let (client, is_changed) = self.client_in(&mut self.lock(&demand.counted_key()), demand);
        if is_changed {
            client.queue.wake_head();
        }
        client
    }

    /// Returns the client, and whether its limits have changed. If so, its queue is to be woken,
    /// under no lock, since that wakes the task of a request.
    fn client_in(&self, shard: &mut Shard, demand: &Demand<K::Plan>) -> (Arc<ClientLink>, bool) {
        let rules = unpoisoned(self.rules.read());
        let key = demand.counted_key();
        let set_limits = |client: &Arc<ClientLink>, plan| {
            let limits = rules.change(&client.link.limits(), plan);
            if let Some(limits) = &limits {
                client.link.set_limits(limits);
            }
            (client.clone(), limits.is_some())
        };
        if let Some(client) = shard.clients.get(&key) {
            return set_limits(client, demand.plan);
        }
        if self.make_room(shard) {
            let limits = rules.change(&[], demand.plan);
            let client = ClientLink::new(self, key, limits.unwrap_or_default(), false);
            shard.clients.insert(key, client.clone());
            return (client, false);
        }
        // By the limits of all: larger ones would use up what others share.
        let shared = shard.newcomers.get_or_insert_with(|| {
            let key = ClientKey::newcomers(shard_of(&key) as u64);
            ClientLink::new(self, key, rules.limits.clone(), true)
        });
        set_limits(shared, None)
    }

    /// Counts one more client, if there is room for it.
    fn make_room(&self, shard: &mut Shard) -> bool {
        let now = Instant::now();
        if self.keys() >= self.max_keys && shard.search_at.is_none_or(|at| at <= now) {
            self.drop_idle(shard);
            let until = shard
                .clients
                .values()
                .map(|client| client.link.used_until());
            let first = until.min().flatten().unwrap_or(now);
            shard.search_at = Some(first.max(now + PAUSE));
        }
        let one_more = |keys| (keys < self.max_keys).then(|| keys + 1);
        let relaxed = Ordering::Relaxed;
        self.keys.fetch_update(relaxed, relaxed, one_more).is_ok()
    }

    fn drop_idle(&self, shard: &mut Shard) {
        let before = shard.clients.len();
        shard.clients.retain(|_, client| client.is_in_use());
        let dropped = before - shard.clients.len();
        self.keys.fetch_sub(dropped, Ordering::Relaxed);
        if shard.clients.len() < shard.clients.capacity() / 4 {
            shard.clients.shrink_to(shard.clients.len() * 2);
        }
        shard.newcomers.take_if(|client| !client.is_in_use());
    }

    /// Joins the queue of a client.
    pub(super) fn join(
        &self,
        demand: &Demand<K::Plan>,
        patience: Patience,
    ) -> Result<Waiter, Rejected> {
        // Under the lock, so that the client is not dropped meanwhile.
        let mut shard = self.lock(&demand.counted_key());
        let (client, is_changed) = self.client_in(&mut shard, demand);
        if self.is_closed.load(Ordering::Relaxed) {
            client.queue.close();
        }
        let joined = Waiter::join(client.queue.clone(), demand.cost, patience);
        drop(shard);
        if is_changed {
            client.queue.wake_head();
        }
        joined
    }

    /// Rejects queued and new requests in this process from now on, and returns what was granted.
    pub(super) fn close(&self) {
        // A request that joins a queue has done so before, or sees the flag: both happen under the
        // lock of its shard.
        self.is_closed.store(true, Ordering::Relaxed);
        for client in self.all() {
            client.queue.close();
            client.link.close();
        }
    }

    pub(super) fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Returns the units that a client has in use, as far as this process knows, and how many of
    /// its requests wait here.
    pub(super) fn usage(&self, key: ClientKey) -> (u64, usize) {
        let shard = self.lock(&key);
        let client = shard.clients.get(&key);
        client.map_or((0, 0), |client| {
            (client.most_used(), client.queue.waiting())
        })
    }

    /// Returns how many requests wait here, of all clients.
    #[cfg(feature = "metrics")]
    pub(super) fn waiting(&self) -> usize {
        self.all().iter().map(|client| client.queue.waiting()).sum()
    }

    /// Shows each client that is in use here, and the units that it has in use.
    pub(super) fn each(&self, mut show: impl FnMut(ClientKey, u64)) {
        for shard in &self.shards {
            for (key, client) in &unpoisoned(shard.lock()).clients {
                show(*key, client.most_used());
            }
        }
    }

    /// Returns all clients, and what new clients share.
    fn all(&self) -> Vec<Arc<ClientLink>> {
        let mut all = Vec::new();
        for shard in &self.shards {
            let shard = unpoisoned(shard.lock());
            all.extend(shard.clients.values().chain(&shard.newcomers).cloned());
        }
        all
    }

    /// Returns the longest that a request waits for a reply.
    pub(super) fn timeout(&self) -> Duration {
        self.store.settings.timeout
    }

    fn lock(&self, key: &ClientKey) -> MutexGuard<'_, Shard> {
        unpoisoned(self.shards[shard_of(key)].lock())
    }
}

/// Returns the number of a client's shard, the same in all processes, since new clients share a
/// limit by it.
fn shard_of(key: &ClientKey) -> usize {
    let number = u128::from_be_bytes(*key.bytes()) % SHARDS as u128;
    number as usize
}

impl<K: Kind> StoreMember for ClientLinks<K> {
    fn wake(&self) {
        for client in self.all() {
            client.queue.wake_head();
        }
    }

    /// Looks for clients that are idle. What clients have taken is not reported again.
    fn check_in(self: Arc<Self>) {
        let first = self.next_shard.fetch_add(SHARDS_A_BEAT, Ordering::Relaxed);
        for number in first..first + SHARDS_A_BEAT {
            let shard = &mut *unpoisoned(self.shards[number % SHARDS].lock());
            self.drop_idle(shard);
        }
    }

    fn leave(self: Arc<Self>) -> LeaveFuture {
        Box::pin(async move {
            for client in self.all() {
                // Otherwise each would wait for the timeout.
                if self.store.status().is_connected {
                    client.link.clone().leave().await;
                }
            }
        })
    }
}

crate::macros::debug! {
    impl<K: Kind> Debug for ClientLinks<K> |self| { name, keys: self.keys(), .. }
}

// ===== impl Rules =====

impl<K: Kind> Rules<K> {
    fn new(plan: K::Plan, names: K::Names) -> Self {
        let limits = K::store_limits(plan, names);
        let (limits, labels): (Vec<_>, _) =
            limits.map(|one| (one.spec, (one.limit, one.name))).unzip();
        Self {
            names,
            rule: K::rule(plan, names),
            limits: limits.into(),
            labels,
        }
    }

    /// Returns the limits of a client with this plan, if it has others.
    fn change(&self, limits: &[LimitSpec], plan: Option<K::Plan>) -> Option<Arc<[LimitSpec]>> {
        let Some(plan) = plan else {
            return (*limits != *self.limits).then(|| self.limits.clone());
        };
        let own = K::store_limits(plan, self.names).map(|limit| limit.spec);
        let has_others = !limits.iter().copied().eq(own);
        has_others.then(|| Self::new(plan, self.names).limits)
    }
}

#[cfg(all(test, not(throttle_loom), feature = "provider"))]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::{
        limit::{
            Quota,
            store::{Model, StoreSettings},
        },
        per_key::PerKeyLimiter,
    };

    #[tokio::test(start_paused = true)]
    async fn a_full_table_is_searched_if_one_may_be_idle() {
        let store = Handle::new(Arc::new(Model::new()), StoreSettings::default());
        let period = Duration::from_secs(60);
        let limiter = PerKeyLimiter::window(Quota::new(10, period)).max_keys(SHARDS * 20);
        let limiter = limiter.in_store(store, "name".into());
        let start = Instant::now();
        for client in 0..SHARDS as u64 * 20 {
            limiter.acquire(client.into(), 1).await.unwrap();
        }
        let (newcomer, links) = (ClientKey::from("ann"), limiter.0.shared.as_ref().unwrap());
        for _ in 0..3 {
            limiter.acquire(newcomer, 1).await.unwrap();
            let search_at = links.lock(&newcomer).search_at.unwrap();
            assert!(search_at >= start + period, "{:?}", search_at - start);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        tokio::time::sleep_until(start + period * 2).await;
        limiter.acquire(newcomer, 1).await.unwrap();
        assert_eq!(limiter.used(newcomer), 1);
    }
}
