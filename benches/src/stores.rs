//! Where a bucket for each caller could be kept: our table beside maps that others have made.
//!
//! A row is a caller and sixteen bytes, of which a check takes in their place. All hash by the standard library's hasher, since
//! callers choose their keys. None of the others has a bound but `quick_cache`, which forgets callers to keep it, whether they are
//! idle or not.

use std::{
    hash::RandomState,
    net::IpAddr,
    sync::atomic::{AtomicU64, Ordering},
};

use dashmap::DashMap;
use governor::clock::{Clock as _, QuantaClock, QuantaInstant, Reference as _};
use quick_cache::{
    UnitWeighter,
    sync::{Cache, DefaultLifecycle, EntryAction, EntryResult},
};
use tower_throttle::{Clock, Quota, key::ClientKey, per_key::PerKeyLimiter};

use crate::{
    measure::Group,
    per_key::{MILLION, address, each},
};

pub(crate) const NAME: &str = "a known key, of 1,000,000, by where it is kept";

/// Nobody is refused.
const PLENTY: u64 = 1_000_000_000;

/// A bucket: when it is full, and what a unit takes.
#[derive(Debug, Clone, Copy)]
struct Row {
    full_at: u64,
    unit: u64,
}

impl Row {
    const FULL: Self = Self {
        full_at: 0,
        unit: 1,
    };

    fn next(self, now: u64) -> Option<u64> {
        let next = self.full_at.max(now) + self.unit;
        (next <= now + PLENTY).then_some(next)
    }

    fn take(&mut self, now: u64) -> bool {
        let next = self.next(now);
        self.full_at = next.unwrap_or(self.full_at);
        next.is_some()
    }
}

/// The clock that ours reads by itself.
struct Time(QuantaInstant, QuantaClock);

impl Time {
    fn now(&self) -> u64 {
        self.1.now().duration_since(self.0).as_u64()
    }
}

trait Store: 'static {
    fn insert(&self, caller: ClientKey);
    fn take(&self, caller: ClientKey, time: &Time) -> bool;
}

impl Store for DashMap<ClientKey, Row> {
    fn insert(&self, caller: ClientKey) {
        self.insert(caller, Row::FULL);
    }

    fn take(&self, caller: ClientKey, time: &Time) -> bool {
        self.get_mut(&caller)
            .is_some_and(|mut row| row.take(time.now()))
    }
}

type Bounded = Cache<ClientKey, Row, UnitWeighter, RandomState>;

impl Store for Bounded {
    fn insert(&self, caller: ClientKey) {
        self.insert(caller, Row::FULL);
    }

    fn take(&self, caller: ClientKey, time: &Time) -> bool {
        let entry = self.entry(&caller, None, |_, row| {
            EntryAction::Retain(row.take(time.now()))
        });
        matches!(entry, EntryResult::Retained(true))
    }
}

impl Store for scc::HashMap<ClientKey, Row> {
    fn insert(&self, caller: ClientKey) {
        let _ = self.insert_sync(caller, Row::FULL);
    }

    fn take(&self, caller: ClientKey, time: &Time) -> bool {
        let taken = self.update_sync(&caller, |_, row| row.take(time.now()));
        taken.unwrap_or(false)
    }
}

/// A row of papaya's, whose values can't be changed but as atomics.
type Shared = (AtomicU64, u64);

impl Store for papaya::HashMap<ClientKey, Shared> {
    fn insert(&self, caller: ClientKey) {
        self.pin().insert(caller, (AtomicU64::new(0), 1));
    }

    fn take(&self, caller: ClientKey, time: &Time) -> bool {
        let (now, relaxed) = (time.now(), Ordering::Relaxed);
        let map = self.pin();
        map.get(&caller).is_some_and(|(full_at, unit)| {
            let unit = *unit;
            let next = |full_at| Row { full_at, unit }.next(now);
            full_at.fetch_update(relaxed, relaxed, next).is_ok()
        })
    }
}

impl Store for PerKeyLimiter {
    fn insert(&self, caller: ClientKey) {
        assert!(self.try_acquire(caller, 1_000_000_000).is_ok());
    }

    fn take(&self, caller: ClientKey, _: &Time) -> bool {
        self.try_acquire(caller, 1).is_ok()
    }
}

/// A million addresses in each, how many bytes that took, and what it takes to find one.
pub(crate) fn all() -> Group {
    // A tenth more than there are, since each part has a bound of its own, and more or fewer fall into it.
    let most = MILLION as usize * 11 / 10;
    let bounded = || {
        Bounded::with(
            most,
            most as u64,
            UnitWeighter,
            RandomState::new(),
            DefaultLifecycle::default(),
        )
    };
    let quota = Quota::per_second(1_000_000_000);
    let ours = || {
        PerKeyLimiter::new(quota)
            .max_keys(MILLION as usize)
            .clock(Clock::quanta())
    };
    let group = Group::new(NAME);
    println!("bytes a key, of 1,000,000, by where it is kept");
    let group = add(group, "PerKeyLimiter", ours);
    let group = add(group, "dashmap", DashMap::new);
    let group = add(group, "quick_cache", bounded);
    let group = add(group, "scc", scc::HashMap::<ClientKey, Row>::new);
    let group = add(group, "papaya", papaya::HashMap::<ClientKey, Shared>::new);
    let others = ["dashmap", "quick_cache", "scc", "papaya"];
    others.into_iter().fold(group, |group, other| {
        group.ratio("PerKeyLimiter", other, 1.0)
    })
}

fn add<S: Store>(group: Group, name: &'static str, new: impl FnOnce() -> S) -> Group {
    let mut new = Some(new);
    let mut store = None;
    let held = allocation_counter::measure(|| {
        let store = store.insert(new.take().expect("called once")());
        for number in 0..MILLION {
            store.insert(address(number).into());
        }
    });
    let store = store.expect("made");
    let bytes = held.bytes_current as f64 / f64::from(MILLION);
    println!("  {name:<42} {bytes:>8.1}");
    let clock = QuantaClock::default();
    let time = Time(clock.now(), clock);
    let check = move |key: IpAddr| store.take(key.into(), &time);
    let forgotten = (0..MILLION)
        .filter(|number| !check(address(*number)))
        .count();
    if forgotten > 0 {
        println!("  {:<42} {forgotten:>8}", "callers forgotten by it");
    }
    group.contender(name, each(MILLION, check))
}
