//! Cached responses, and calls that are not complete.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard},
};

use moka::{policy::EvictionPolicy, sync::Cache};
use tokio::time::Instant;

use super::{coalesce::SingleFlight, entry::Entry, hit::Hit, key::CacheKey};
use crate::sync::{AtomicU64, Ordering, unpoisoned};

pub(super) struct Store {
    /// The number of the next request.
    pub(super) requests: AtomicU64,
    pub(super) hits: AtomicU64,
    pub(super) misses: AtomicU64,
    pub(super) collapsed: AtomicU64,
    entries: Cache<CacheKey, Arc<Entry>>,
    flights: Mutex<Flights>,
}

/// The size of a cache, and how many requests it responded to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheUsage {
    /// Responses in the store. Some may be too old to be used.
    pub entries: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Requests that got a response from the store.
    pub hits: u64,
    /// Requests that called the inner service, except [bypassed](super::Status::Bypass) ones.
    pub misses: u64,
    /// Requests that got the response to another request at the same time.
    pub collapsed: u64,
}

/// Calls whose responses are not complete.
#[derive(Default)]
pub(super) struct Flights {
    pub(super) by_key: HashMap<CacheKey, Arc<SingleFlight>>,
    /// Increases each time that the store is cleared.
    pub(super) generation: u64,
}

// ===== impl Store =====

impl Store {
    pub(super) fn new(max_bytes: u64) -> Self {
        let entries = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_: &CacheKey, entry: &Arc<Entry>| entry.weight())
            // A batch that runs again needs the most recently used responses.
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Self {
            requests: AtomicU64::new(0),
            hits: AtomicU64::new(0),
            misses: AtomicU64::new(0),
            collapsed: AtomicU64::new(0),
            entries,
            flights: Mutex::default(),
        }
    }

    /// Returns a response of at most this age in seconds, or why there is none.
    pub(super) fn find(&self, key: &CacheKey, max_age: u64) -> Result<Hit, &'static str> {
        let entry = self.entries.get(key).ok_or("miss")?;
        let now = Instant::now();
        let ttl = entry.head.fresh_for(now).ok_or("stale")?;
        let age = entry.head.age(now);
        // A maximum age of 0 asks for a new response, even in the same second.
        if max_age == 0 || age > max_age {
            return Err("request");
        }
        self.hits.fetch_add(1, Ordering::Relaxed);
        Ok(Hit { entry, age, ttl })
    }

    /// Stores the response to a request that began in this generation.
    pub(super) fn keep(&self, key: CacheKey, generation: u64, entry: Entry) {
        let flights = self.flights();
        let other = self.entries.get(&key);
        let is_newest = other.is_none_or(|other| other.head.born <= entry.head.born);
        let is_fresh = entry.head.fresh_for(Instant::now()).is_some();
        if flights.generation == generation && is_newest && is_fresh {
            crate::macros::event!(
                target: "tower_throttle::cache",
                bytes = entry.weight(), "caching a response"
            );
            self.entries.insert(key, Arc::new(entry));
            // Otherwise the limit in bytes would be exceeded for a while.
            self.entries.run_pending_tasks();
        }
    }

    /// Ends a flight: no request follows it any more.
    pub(super) fn land(&self, key: &CacheKey, flight: &Arc<SingleFlight>) {
        let mut flights = self.flights();
        let current = flights.by_key.get(key);
        if current.is_some_and(|current| Arc::ptr_eq(current, flight)) {
            flights.by_key.remove(key);
        }
    }

    pub(super) fn forget(&self, key: &CacheKey) {
        self.entries.invalidate(key);
    }

    pub(super) fn clear(&self) {
        let mut flights = self.flights();
        flights.generation += 1;
        let landed = mem::take(&mut flights.by_key);
        // One by one: `invalidate_all` frees them later, and goes by a clock.
        for (key, _) in &self.entries {
            self.entries.invalidate(&*key);
        }
        self.entries.run_pending_tasks();
        drop(flights);
        drop(landed);
    }

    pub(super) fn usage(&self) -> CacheUsage {
        self.entries.run_pending_tasks();
        CacheUsage {
            entries: self.entries.entry_count(),
            bytes: self.entries.weighted_size(),
            hits: self.hits.load(Ordering::Relaxed),
            misses: self.misses.load(Ordering::Relaxed),
            collapsed: self.collapsed.load(Ordering::Relaxed),
        }
    }

    pub(super) fn flights(&self) -> MutexGuard<'_, Flights> {
        unpoisoned(self.flights.lock())
    }
}

crate::macros::debug!(impl Debug for Store |self| { entries: self.entries.entry_count(), .. });
