//! A bounded table of what is counted, one row for each caller that is not idle.
//!
//! It is cut into shards, each with a lock of its own that is held for a look-up. An idle caller is as
//! good as one who never came, so its place is free; whoever brings a new caller looks for such places once in a while, and so does
//! anybody now and then, one shard at a time.

mod places;
mod plans;
mod waiting;

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use hashbrown::HashTable;

use super::{
    kind::{Kind, Want},
    line::{Lines, Whose},
};
use crate::{
    error::Rejected,
    http::headers::rate_limit::standing::Standing,
    limit::{engine::WaitQueue, key::ClientKey},
};

/// About how many callers a shard of a full table holds. Its table then has 4,096 places, of which hashbrown uses up to
/// seven eighths, 3,584; five standard deviations lie between.
const A_SHARD: usize = 3_300;

/// So many shards at the least, for as many threads.
const FEWEST_SHARDS: usize = 32;

/// So many at the most: a bound that is no bound must not cost memory before anybody comes.
const MOST_SHARDS: usize = 4_096;

pub(super) struct Table<K: Kind> {
    shards: Box<[Mutex<Shard<K>>]>,
    keys: RandomState,
    callers: AtomicUsize,
    max_callers: usize,
    /// When the next shard is to be looked at, and which one that is.
    next_look: AtomicU64,
    next_shard: AtomicUsize,
    /// Until when it is known that there is no room.
    full_until: AtomicU64,
    /// Held while all shards are told the same, so that of two plans one is in force in all of them.
    telling: Mutex<()>,
}

struct Shard<K: Kind> {
    rows: HashTable<Row<K>>,
    /// What those share who came when the table was full.
    newcomers: K,
    plan: K::Plan,
    rule: K::Rule,
    /// When the first of those seen at the last look is idle, or soon enough after it.
    look_again_at: u64,
    /// What had been given back to the one of those who were let go to whom the most had.
    given: u64,
    /// The callers of whom somebody waits.
    lines: Lines,
}

struct Row<K> {
    caller: ClientKey,
    count: K,
}

/// What became of a request, and how its caller stands after.
pub(super) struct Admission<K: Kind> {
    pub(super) mark: Result<K::Mark, Rejected>,
    pub(super) left: K::Left,
    /// Whether it was taken from what newcomers to a full table share.
    pub(super) shared: bool,
}

// ===== impl Table =====

impl<K: Kind> Table<K> {
    pub(super) fn new(plan: K::Plan, names: K::Names, max_callers: usize) -> Self {
        let shards = max_callers
            .div_ceil(A_SHARD)
            .clamp(FEWEST_SHARDS, MOST_SHARDS);
        let shard = || {
            Mutex::new(Shard {
                rows: HashTable::new(),
                newcomers: K::default(),
                plan,
                rule: K::rule(plan, names),
                look_again_at: 0,
                given: 0,
                lines: Lines::default(),
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(shards).collect(),
            keys: RandomState::new(),
            callers: AtomicUsize::new(0),
            max_callers,
            next_look: AtomicU64::new(0),
            next_shard: AtomicUsize::new(0),
            full_until: AtomicU64::new(0),
            telling: Mutex::new(()),
        }
    }

    /// Takes what is wanted of what `caller` has, by the table's plan unless another one is given.
    pub(super) fn take(
        &self,
        caller: ClientKey,
        plan: Option<K::Plan>,
        mut want: Want,
        now: u64,
    ) -> Admission<K> {
        let hash = self.hash(&caller);
        let taken = {
            let shard = &mut *self.lock(hash);
            let rule = shard.rule_of(plan);
            if !want.in_turn {
                want.ahead = shard.lines.units(hash, Whose::ClientKey(caller));
            }
            match shard.rows.find_mut(hash, |row| row.caller == caller) {
                Some(row) => Admission::of(&mut row.count, &rule, want, now),
                None => self.take_first(shard, caller, hash, &rule, want, now),
            }
        };
        self.look_around(now);
        taken
    }

    /// For one who has no row: gives it one, or else takes from what newcomers share.
    #[cold]
    fn take_first(
        &self,
        shard: &mut Shard<K>,
        caller: ClientKey,
        hash: u64,
        rule: &K::Rule,
        mut want: Want,
        now: u64,
    ) -> Admission<K> {
        let mut count = K::after(shard.given);
        let taken = Admission::of(&mut count, rule, want, now);
        if self.keep(shard, Row { caller, count }, hash, now) {
            return taken;
        }
        if !want.in_turn {
            let ahead = shard.lines.units(hash, Whose::Newcomers);
            want.ahead = want.ahead.saturating_add(ahead);
        }
        // Who shares what there is shares its plan: a better one would fill it for all the others, too.
        let rule = shard.rule;
        let taken = Admission::of(&mut shard.newcomers, &rule, want, now);
        Admission {
            // It fits into what is its own as soon as there is a place.
            mark: taken.mark.map_err(not_for_ever),
            shared: true,
            ..taken
        }
    }

    /// Changes what is counted of a caller, and lets whoever waits look again.
    pub(super) fn change<T>(
        &self,
        caller: ClientKey,
        plan: Option<K::Plan>,
        shared: bool,
        now: u64,
        change: impl Fn(&mut K, &K::Rule) -> T,
    ) -> T {
        let hash = self.hash(&caller);
        let (changed, waiting) = {
            let shard = &mut *self.lock(hash);
            let rule = shard.rule_of(plan.filter(|_| !shared));
            if shared {
                shard.newcomers.adopt(&rule, now);
                let changed = change(&mut shard.newcomers, &rule);
                (changed, shard.lines.all())
            } else {
                let changed = self.change_row(shard, caller, hash, &rule, now, change);
                (changed, shard.lines.of(hash, caller))
            }
        };
        wake(&waiting);
        changed
    }

    fn change_row<T>(
        &self,
        shard: &mut Shard<K>,
        caller: ClientKey,
        hash: u64,
        rule: &K::Rule,
        now: u64,
        change: impl Fn(&mut K, &K::Rule) -> T,
    ) -> T {
        if let Ok(mut row) = shard.rows.find_entry(hash, |row| row.caller == caller) {
            let changed = change(&mut row.get_mut().count, rule);
            self.let_go_if_idle(row, &shard.lines, &mut shard.given, hash, now);
            return changed;
        }
        // It was idle, and let go of.
        let mut count = K::after(shard.given);
        count.adopt(rule, now);
        let changed = change(&mut count, rule);
        if self.keep(shard, Row { caller, count }, hash, now) {
            return changed;
        }
        let rule = shard.rule;
        shard.newcomers.adopt(&rule, now);
        change(&mut shard.newcomers, &rule)
    }

    pub(super) fn max_callers(&self) -> usize {
        self.max_callers
    }

    /// The units that one caller has in use.
    pub(super) fn used(&self, caller: ClientKey, now: u64) -> u64 {
        let hash = self.hash(&caller);
        let shard = self.lock(hash);
        let row = shard.rows.find(hash, |row| row.caller == caller);
        row.map_or(0, |row| row.count.used(now))
    }

    /// How many callers have a place. Relaxed: a lone number.
    pub(super) fn callers(&self) -> usize {
        self.callers.load(Ordering::Relaxed)
    }

    /// Shows each caller, and the units that it has used and that have not refilled.
    pub(super) fn each(&self, now: u64, mut show: impl FnMut(ClientKey, u64)) {
        for shard in &self.shards {
            for row in &lock(shard).rows {
                show(row.caller, row.count.used(now));
            }
        }
    }

    /// Shows where a caller stands that has used nothing, by the plan that is in force.
    pub(super) fn full_standings(&self, show: &mut dyn FnMut(Standing<'static>)) {
        let rule = lock(&self.shards[0]).rule;
        K::standings(&K::default().left(&rule, 0), show);
    }

    fn hash(&self, caller: &ClientKey) -> u64 {
        let mut hasher = self.keys.build_hasher();
        hasher.write(caller.bytes());
        hasher.finish()
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, Shard<K>> {
        // By the middle bits: hashbrown goes by the lowest and the highest.
        let part = (hash >> 16) & 0xffff_ffff;
        let shard = (part * self.shards.len() as u64) >> 32;
        lock(&self.shards[shard as usize])
    }
}

// ===== impl Shard =====

impl<K: Kind> Shard<K> {
    fn rule_of(&self, plan: Option<K::Plan>) -> K::Rule {
        let own = |plan| K::own(K::rule(plan, K::names(&self.rule)));
        plan.map_or(self.rule, own)
    }
}

// ===== impl Admission =====

impl<K: Kind> Admission<K> {
    #[inline]
    fn of(count: &mut K, rule: &K::Rule, want: Want, now: u64) -> Self {
        let mark = count.take(rule, want, now);
        Self {
            mark,
            left: count.left(rule, now),
            shared: false,
        }
    }
}

/// The same where it may fit later, though it never fits into what it would share now.
fn not_for_ever(rejected: Rejected) -> Rejected {
    if rejected.exceeds_capacity() {
        return Rejected::too_long(rejected.limit(), Duration::ZERO, None);
    }
    rejected
}

/// Lets the heads of some lines look again. Under no lock: whoever is woken may change something at once.
fn wake(lines: &[Arc<WaitQueue>]) {
    lines.iter().for_each(|line| line.wake_head());
}

/// Nothing that is done under the lock leaves a shard half changed.
fn lock<T>(shard: &Mutex<T>) -> MutexGuard<'_, T> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
