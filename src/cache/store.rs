//! What is kept, for all services of a layer.

use std::{
    collections::HashMap,
    fmt,
    hash::{BuildHasherDefault, Hash, Hasher},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::time::Instant;

use super::{
    entry::Entry,
    flight::{Charge, Flight},
    key::CacheKey,
    landing::Landing,
    rules::{Ask, Rules},
    status::{Told, Why},
    ticket::Ticket,
    usage::{Counts, Usage},
};
use crate::sync::{AtomicU64, Ordering};

pub(super) struct Store {
    pub(super) counts: Counts,
    entries: Cache<CacheKey, Arc<Entry>, BuildHasherDefault<Prefix>>,
    numbers: AtomicU64,
    now: Mutex<Now>,
}

/// What is under way.
#[derive(Debug, Default)]
struct Now {
    flights: HashMap<CacheKey, (u64, Arc<Flight>), BuildHasherDefault<Prefix>>,
    /// Counts up each time that everything is forgotten.
    generation: u64,
}

/// Takes the key's own bytes for its hash: they are as good as random, and nobody outside can choose them.
#[derive(Default)]
struct Prefix(u64);

/// What becomes of a request.
pub(super) enum Entered {
    Hit(Arc<Entry>, Told),
    Lead(Landing, Option<Charge>, Why),
    Follow(Ticket, Why),
}

/// What was found for a request.
enum Found {
    Hit(Arc<Entry>, Told),
    Nothing(Why),
}

// ===== impl Store =====

impl Store {
    pub(super) fn new(max_bytes: u64) -> Self {
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &CacheKey, entry: &Arc<Entry>| entry.weight())
            // What was asked last is what is asked next, as when a batch is run again.
            .eviction_policy(EvictionPolicy::lru())
            .build_with_hasher(BuildHasherDefault::default());
        Self {
            counts: Counts::default(),
            entries,
            numbers: AtomicU64::new(0),
            now: Mutex::default(),
        }
    }

    pub(super) fn enter(self: &Arc<Self>, ask: &Ask, rules: &Rules) -> Entered {
        let why = match self.find(ask) {
            Found::Hit(entry, told) => return Entered::Hit(entry, told),
            Found::Nothing(why) => why,
        };
        // Who wants a new answer wants none that is under way either.
        if !rules.single_flight || ask.max_age == 0 {
            let landing = self.landing(ask.key, None, self.now().generation);
            return Entered::Lead(landing, None, why);
        }
        loop {
            let mut now = self.now();
            let Some((number, flight)) = now.flights.get(&ask.key) else {
                // It may have landed in between.
                if let Found::Hit(entry, told) = self.find(ask) {
                    return Entered::Hit(entry, told);
                }
                let number = self.number();
                let landing = self.landing(ask.key, Some(number), now.generation);
                let charge = Flight::begin(landing.clone());
                let flight = charge.flight.clone();
                now.flights.insert(ask.key, (number, flight));
                return Entered::Lead(landing, Some(charge), why);
            };
            let (number, flight) = (*number, flight.clone());
            drop(now);
            match flight.follow(self.number(), |head| rules.joins(ask, head)) {
                Some(ticket) => return Entered::Follow(ticket, why),
                // Who comes next finds no place either, and begins with this one anew.
                None => self.land(&ask.key, number),
            }
        }
    }

    fn find(&self, ask: &Ask) -> Found {
        let Some(entry) = self.entries.get(&ask.key) else {
            return Found::Nothing(Why::Missing);
        };
        let now = Instant::now();
        let Some(ttl) = entry.head.fresh_for(now) else {
            return Found::Nothing(Why::Stale);
        };
        let age = entry.head.age(now);
        // An answer of this very second is too old for who wants a new one.
        if ask.max_age == 0 || age > ask.max_age {
            return Found::Nothing(Why::Request);
        }
        Found::Hit(entry, Told::Hit { age, ttl })
    }

    fn landing(self: &Arc<Self>, key: CacheKey, number: Option<u64>, generation: u64) -> Landing {
        Landing {
            store: self.clone(),
            key,
            number,
            generation,
        }
    }

    /// One that nobody else has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// Keeps an answer to a request that began in this generation.
    pub(super) fn keep(&self, key: CacheKey, generation: u64, entry: Entry) {
        let now = self.now();
        let newer = self.entries.get(&key);
        let is_newest = newer.is_none_or(|other| !other.head.is_newer_than(&entry.head));
        let is_fresh = entry.head.fresh_for(Instant::now()).is_some();
        if now.generation == generation && is_newest && is_fresh {
            #[cfg(feature = "tracing")]
            tracing::debug!(bytes = entry.weight(), "an answer is kept");
            self.entries.insert(key, Arc::new(entry));
            // Otherwise the bound would be kept some time later.
            self.entries.run_pending_tasks();
        }
        drop(now);
    }

    /// Lets nobody else follow.
    pub(super) fn land(&self, key: &CacheKey, number: u64) {
        let mut now = self.now();
        let is_it = now.flights.get(key).is_some_and(|(n, _)| *n == number);
        let landed = is_it.then(|| now.flights.remove(key));
        drop(now);
        drop(landed);
    }

    pub(super) fn forget(&self, key: &CacheKey) {
        self.entries.invalidate(key);
    }

    pub(super) fn clear(&self) {
        let mut now = self.now();
        now.generation += 1;
        let flights = mem::take(&mut now.flights);
        // One by one: `invalidate_all` frees them later, and goes by a clock.
        for (key, _) in &self.entries {
            self.entries.invalidate(&*key);
        }
        self.entries.run_pending_tasks();
        drop(now);
        drop(flights);
    }

    pub(super) fn usage(&self) -> Usage {
        self.entries.run_pending_tasks();
        Usage {
            entries: self.entries.entry_count(),
            bytes: self.entries.weighted_size(),
            hits: self.counts.hits.get(),
            misses: self.counts.misses.get(),
            collapsed: self.counts.collapsed.get(),
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("entries", &self.entries.entry_count())
            .field("hits", &self.counts.hits)
            .field("misses", &self.counts.misses)
            .field("collapsed", &self.counts.collapsed)
            .finish_non_exhaustive()
    }
}

// ===== impl Prefix =====

impl Hash for CacheKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

impl Hasher for Prefix {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
