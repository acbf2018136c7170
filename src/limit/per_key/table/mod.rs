//! A bounded table of counts, with one row for each key that is not idle.
//!
//! It has shards, each with a lock that is held for a look-up. An idle key is like one that was
//! never used, so its row is free. Requests with new keys look for idle rows once in a while, and
//! so do all requests now and then, one shard at a time.

mod places;

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use hashbrown::HashTable;

use super::{
    admission::closed,
    by_key::Demand,
    kind::{Count, Kind, Want},
    queues::Queues,
};
use crate::{
    error::Rejected,
    http::headers::rate_limit::standing::Standing,
    limit::{
        engine::{Patience, WaitQueue, Waiter},
        key::ClientKey,
        priority::Priority,
        usage::LimiterUsage,
    },
    sync::unpoisoned,
};

/// About how many keys a shard of a full table holds. Its hash table then has 4,096 places, of
/// which hashbrown uses up to seven eighths, 3,584: five standard deviations more.
const A_SHARD: usize = 3_300;

/// The smallest number of shards, for as many threads.
const FEWEST_SHARDS: usize = 32;

/// The largest number of shards: a huge bound must not cost memory in advance.
const MOST_SHARDS: usize = 4_096;

pub(super) struct Table<K: Kind> {
    shards: Box<[Mutex<Shard<K>>]>,
    hashers: RandomState,
    keys: AtomicUsize,
    pub(super) max_keys: usize,
    /// When to look at the next shard, and which one that is.
    next_look: AtomicU64,
    next_shard: AtomicUsize,
    /// There is no room until then.
    full_until: AtomicU64,
    /// Locked while all shards get another rule, so that all of them have the same in the end.
    limits: Mutex<(K::Plan, K::Names)>,
    closed: AtomicBool,
}

struct Shard<K: Kind> {
    rows: HashTable<Row<K>>,
    /// The limit that new keys share if the table is full.
    newcomers: K,
    names: K::Names,
    rule: K::Rule,
    /// When the first of the rows at the last look is idle, or soon after it.
    look_again_at: u64,
    /// The most that had been given back to one of the rows that were removed.
    given: u64,
    queues: Queues,
}

struct Row<K> {
    key: ClientKey,
    count: K,
}

/// Whether there is room for a request, and the state of its key.
type Room<K> = (Result<(), Rejected>, <K as Count>::Left);

/// The result of a request, and the state of its key after it.
pub(super) struct Admission<K: Kind> {
    pub(super) mark: Result<K::Mark, Rejected>,
    pub(super) left: K::Left,
    /// Whether it was taken from the limit that new keys share.
    pub(super) shared: bool,
}

// ===== impl Table =====

impl<K: Kind> Table<K> {
    pub(super) fn new(plan: K::Plan, names: K::Names, max_keys: usize) -> Self {
        let shards = max_keys.div_ceil(A_SHARD).clamp(FEWEST_SHARDS, MOST_SHARDS);
        let shard = || {
            Mutex::new(Shard {
                rows: HashTable::new(),
                newcomers: K::default(),
                names,
                rule: K::rule(plan, names),
                look_again_at: 0,
                given: 0,
                queues: Queues::default(),
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(shards).collect(),
            hashers: RandomState::new(),
            keys: AtomicUsize::new(0),
            max_keys,
            next_look: AtomicU64::new(0),
            next_shard: AtomicUsize::new(0),
            full_until: AtomicU64::new(0),
            limits: Mutex::new((plan, names)),
            closed: AtomicBool::new(false),
        }
    }

    /// Takes what is wanted from the limit of a key, by the table's plan if it has none of its own.
    pub(super) fn take(&self, demand: &Demand<K::Plan>, mut want: Want, now: u64) -> Admission<K> {
        let key = demand.counted_key();
        let hash = self.hash(&key);
        let taken = {
            let shard = &mut *self.lock(hash);
            let rule = shard.rule_of(demand.plan);
            if !want.in_turn {
                want.ahead = shard.queues.units(Some(key));
            }
            match shard.rows.find_mut(hash, |row| row.key == key) {
                Some(row) => Admission::of(&mut row.count, &rule, want, now, false),
                None => {
                    let newcomers = match want.in_turn {
                        true => 0,
                        false => shard.queues.units(None),
                    };
                    let take = |count: &mut K, rule: &K::Rule, is_shared| {
                        let others = if is_shared { newcomers } else { 0 };
                        let ahead = want.ahead.saturating_add(others);
                        Admission::of(count, rule, Want { ahead, ..want }, now, is_shared)
                    };
                    self.change_first(shard, key, hash, &rule, now, take)
                }
            }
        };
        self.look_around(now);
        taken
    }

    /// Changes the count of a key without a row: a new one, or the one that new keys share.
    #[cold]
    fn change_first<T>(
        &self,
        shard: &mut Shard<K>,
        key: ClientKey,
        hash: u64,
        rule: &K::Rule,
        now: u64,
        change: impl Fn(&mut K, &K::Rule, bool) -> T,
    ) -> T {
        let mut count = K::after(shard.given);
        let changed = change(&mut count, rule, false);
        if self.keep(shard, Row { key, count }, hash, now) {
            return changed;
        }
        // A shared limit has the table's plan: a larger one would fill it for all other keys.
        let rule = shard.rule;
        change(&mut shard.newcomers, &rule, true)
    }

    /// Changes the count of a key, and wakes the heads of its queues.
    pub(super) fn change<T>(
        &self,
        key: ClientKey,
        plan: Option<K::Plan>,
        shared: bool,
        now: u64,
        change: impl Fn(&mut K, &K::Rule) -> T,
    ) -> T {
        let hash = self.hash(&key);
        let (changed, waiting) = {
            let shard = &mut *self.lock(hash);
            let rule = shard.rule_of(plan.filter(|_| !shared));
            let adopt = |count: &mut K, rule: &K::Rule, _| {
                count.adopt(rule, now);
                change(count, rule)
            };
            if shared {
                let changed = adopt(&mut shard.newcomers, &rule, true);
                (changed, shard.queues.all())
            } else if let Ok(mut row) = shard.rows.find_entry(hash, |row| row.key == key) {
                let changed = change(&mut row.get_mut().count, &rule);
                self.let_go_if_idle(row, &shard.queues, &mut shard.given, now);
                (changed, shard.queues.of(key))
            } else {
                // It was idle, and its row was removed.
                let changed = self.change_first(shard, key, hash, &rule, now, adopt);
                (changed, shard.queues.of(key))
            }
        };
        wake(&waiting);
        changed
    }

    /// Returns how much of the limit of a key is used. The limit is the one for all keys.
    pub(super) fn usage(&self, key: ClientKey, now: u64) -> LimiterUsage {
        let hash = self.hash(&key);
        let shard = self.lock(hash);
        let row = shard.rows.find(hash, |row| row.key == key);
        let queues = shard.queues.of(key);
        LimiterUsage {
            limit: K::capacity(&shard.rule),
            used: row.map_or(0, |row| row.count.used(now)),
            waiting: queues.iter().map(|queue| queue.waiting()).sum(),
        }
    }

    /// Returns the units ahead of a new request in the queue of a key, unless all are ahead of it.
    pub(super) fn units_ahead(&self, key: ClientKey, priority: Priority) -> Option<u64> {
        let shard = self.lock(self.hash(&key));
        shard.queues.units_ahead(key, priority)
    }

    /// Returns whether there is room behind `ahead` units, and the state of the key.
    pub(super) fn room(&self, demand: &Demand<K::Plan>, ahead: u64, now: u64) -> Room<K> {
        let key = demand.counted_key();
        let hash = self.hash(&key);
        let shard = &mut *self.lock(hash);
        let rule = shard.rule_of(demand.plan);
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

    /// Joins the queue of a key, or of new keys if the table is full.
    pub(super) fn join(
        &self,
        demand: &Demand<K::Plan>,
        patience: Patience,
    ) -> Result<Waiter, Rejected> {
        let key = demand.counted_key();
        let hash = self.hash(&key);
        // Under the lock, so that the queue is not removed meanwhile.
        let shard = &mut *self.lock(hash);
        if self.is_closed() {
            return Err(closed::<K>(K::name(&shard.rule)));
        }
        let has_own = self.keys() < self.max_keys
            || shard.rows.find(hash, |row| row.key == key).is_some()
            || shard.queues.units(Some(key)) > 0;
        let queue = has_own.then_some(key);
        shard.queues.join(queue, demand.cost, patience)
    }

    /// Removes an empty queue, and the row that was kept for it.
    pub(super) fn leave(&self, key: ClientKey, now: u64) {
        let hash = self.hash(&key);
        let shard = &mut *self.lock(hash);
        shard.queues.leave(key);
        if let Ok(row) = shard.rows.find_entry(hash, |row| row.key == key) {
            self.let_go_if_idle(row, &shard.queues, &mut shard.given, now);
        }
    }

    /// Changes the plan of every key without one of its own, or the names of the limits in
    /// responses. What was used stays used.
    pub(super) fn change_plan(&self, change: impl FnOnce(&mut K::Plan, &mut K::Names), now: u64) {
        let mut waiting = Vec::new();
        {
            let (plan, names) = &mut *unpoisoned(self.limits.lock());
            change(plan, names);
            let rule = K::rule(*plan, *names);
            for shard in &self.shards {
                let shard = &mut *unpoisoned(shard.lock());
                let before = shard.rule;
                shard.names = *names;
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

    pub(super) fn name(&self) -> Option<&'static str> {
        K::name(&unpoisoned(self.shards[0].lock()).rule)
    }

    pub(super) fn limits_and_names(&self) -> (K::Plan, K::Names) {
        *unpoisoned(self.limits.lock())
    }

    /// Rejects queued and new requests from now on.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        for shard in &self.shards {
            // A request that joins a queue of this shard has done so before, or sees the flag: both
            // happen under its lock.
            let queues = unpoisoned(shard.lock()).queues.all();
            queues.iter().for_each(|queue| queue.close());
        }
    }

    #[inline]
    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Returns the number of keys with a row. Relaxed: a lone number.
    pub(super) fn keys(&self) -> usize {
        self.keys.load(Ordering::Relaxed)
    }

    /// Returns how many requests wait, of all keys.
    #[cfg(feature = "metrics")]
    pub(super) fn waiting(&self) -> usize {
        let of = |shard: &Mutex<Shard<K>>| unpoisoned(shard.lock()).queues.all();
        let queues = self.shards.iter().flat_map(of);
        queues.map(|queue| queue.waiting()).sum()
    }

    /// Shows each key, and the units that it has in use.
    pub(super) fn each(&self, now: u64, mut show: impl FnMut(ClientKey, u64)) {
        for shard in &self.shards {
            for row in &unpoisoned(shard.lock()).rows {
                show(row.key, row.count.used(now));
            }
        }
    }

    /// Returns the state of a key that has used nothing.
    pub(super) fn full_standings(&self) -> Vec<Standing<'static>> {
        let rule = unpoisoned(self.shards[0].lock()).rule;
        K::standings(&K::default().left(&rule, 0)).collect()
    }

    fn hash(&self, key: &ClientKey) -> u64 {
        self.hashers.hash_one(u128::from_ne_bytes(*key.bytes()))
    }

    /// Locks the shard of a hash. A panic under the lock leaves no shard half changed.
    fn lock(&self, hash: u64) -> MutexGuard<'_, Shard<K>> {
        // By the middle bits: hashbrown uses the lowest and the highest.
        let part = (hash >> 16) & 0xffff_ffff;
        let shard = (part * self.shards.len() as u64) >> 32;
        unpoisoned(self.shards[shard as usize].lock())
    }
}

// ===== impl Shard =====

impl<K: Kind> Shard<K> {
    fn rule_of(&self, plan: Option<K::Plan>) -> K::Rule {
        let own = |plan| K::own(K::rule(plan, self.names));
        plan.map_or(self.rule, own)
    }
}

// ===== impl Admission =====

impl<K: Kind> Admission<K> {
    #[inline]
    fn of(count: &mut K, rule: &K::Rule, want: Want, now: u64, shared: bool) -> Self {
        let mut admission = Self {
            mark: count.take(rule, want, now),
            left: count.left(rule, now),
            shared,
        };
        if shared {
            admission.mark = admission.mark.map_err(not_for_ever);
        }
        admission
    }
}

/// Converts the rejection of a request that exceeds a shared limit: it may fit into its own later.
pub(super) fn not_for_ever(rejected: Rejected) -> Rejected {
    if rejected.exceeds_capacity() {
        let name = rejected.name();
        return Rejected::too_long(rejected.limit(), None).named(name);
    }
    rejected
}

/// Wakes the heads of some queues. Under no lock, because they may change the table at once.
fn wake(queues: &[Arc<WaitQueue>]) {
    queues.iter().for_each(|queue| queue.wake_head());
}
