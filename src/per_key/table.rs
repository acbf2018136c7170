//! A bounded table of buckets, one for each caller that is not idle.
//!
//! It is cut into shards, each with a lock of its own that is held for a look-up. A caller whose bucket is full again is as
//! good as one who never came, so its place is free; whoever brings a new caller looks for such places once in a while, and so does
//! anybody now and then, one shard at a time.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use hashbrown::HashTable;

use super::bucket::{Bucket, Taken};
use crate::{Quota, algorithm::gcra::Refill, key::Caller};

/// About how many callers a shard of a full table holds. Its table then has 4,096 places, of which hashbrown uses up to
/// seven eighths, 3,584; five standard deviations lie between.
const A_SHARD: usize = 3_300;

/// So many shards at the least, for as many threads.
const FEWEST_SHARDS: usize = 32;

/// How long it takes at the least until every shard has been looked at.
const ROUND_NANOS: u64 = 10_000_000_000;

pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    keys: RandomState,
    callers: AtomicUsize,
    max_callers: usize,
    /// When the next shard is to be looked at, and which one that is.
    next_look: AtomicU64,
    next_shard: AtomicUsize,
}

struct Shard {
    rows: HashTable<Row>,
    /// The bucket of those who came when the table was full.
    newcomers: Bucket,
    quota: Quota,
    refill: Refill,
    /// When the first of those seen at the last look is idle, or soon enough after it.
    none_idle_before: u64,
    /// How many new callers must come before the next look for idle ones.
    patience: usize,
}

struct Row {
    caller: Caller,
    bucket: Bucket,
}

// ===== impl Table =====

impl Table {
    pub(super) fn new(quota: Quota, max_callers: usize) -> Self {
        let shards = max_callers.div_ceil(A_SHARD).max(FEWEST_SHARDS);
        let shard = || {
            Mutex::new(Shard {
                rows: HashTable::new(),
                newcomers: Bucket::FULL,
                quota,
                refill: Refill::new(&quota),
                none_idle_before: 0,
                patience: 0,
            })
        };
        Self {
            shards: std::iter::repeat_with(shard).take(shards).collect(),
            keys: RandomState::new(),
            callers: AtomicUsize::new(0),
            max_callers,
            next_look: AtomicU64::new(0),
            next_shard: AtomicUsize::new(0),
        }
    }

    /// Takes `cost` units from the bucket of `caller`, by the table's quota unless another one is given.
    pub(super) fn take(&self, caller: Caller, cost: u64, quota: Option<Quota>, now: u64) -> Taken {
        let hash = self.hash(&caller);
        let taken = {
            let shard = &mut *self.lock(hash);
            let (quota, refill) = match quota {
                Some(quota) => (quota, Refill::new(&quota)),
                None => (shard.quota, shard.refill),
            };
            let bucket = match shard.rows.find_mut(hash, |row| row.caller == caller) {
                Some(row) => &mut row.bucket,
                None => self.admit(shard, caller, hash, now),
            };
            bucket.take(cost, quota, refill, now)
        };
        self.look_around(now);
        taken
    }

    /// Gives every caller without a quota of its own another one. What they have used stays used.
    pub(super) fn set_quota(&self, quota: Quota) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            shard.quota = quota;
            shard.refill = Refill::new(&quota);
        }
    }

    pub(super) fn quota(&self) -> Quota {
        // There is at least one shard, and all have the same.
        lock(&self.shards[0]).quota
    }

    /// How many callers have a place. Relaxed: a lone number.
    pub(super) fn callers(&self) -> usize {
        self.callers.load(Ordering::Relaxed)
    }

    /// Shows each caller, and the units that it has used and that have not refilled.
    pub(super) fn each(&self, now: u64, mut show: impl FnMut(Caller, u64)) {
        for shard in &self.shards {
            for row in &lock(shard).rows {
                show(row.caller, row.bucket.used(now));
            }
        }
    }

    /// A bucket for one who has none: its own, or in a full table that of all newcomers of the shard.
    #[cold]
    fn admit<'a>(
        &self,
        shard: &'a mut Shard,
        caller: Caller,
        hash: u64,
        now: u64,
    ) -> &'a mut Bucket {
        if !self.make_room(shard, now) {
            return &mut shard.newcomers;
        }
        let bucket = Bucket::FULL;
        let row = Row { caller, bucket };
        let place = shard
            .rows
            .insert_unique(hash, row, |row| self.hash(&row.caller));
        &mut place.into_mut().bucket
    }

    /// Counts one caller more, if there is room for it.
    fn make_room(&self, shard: &mut Shard, now: u64) -> bool {
        let one_more = || {
            let relaxed = Ordering::Relaxed;
            let more = |callers| (callers < self.max_callers).then(|| callers + 1);
            self.callers.fetch_update(relaxed, relaxed, more).is_ok()
        };
        // Before the table of the shard grows, and where the whole is full. A look at n rows each n / 8 new callers at
        // the most is eight rows a caller.
        let is_tight =
            shard.rows.len() == shard.rows.capacity() || self.callers() >= self.max_callers;
        if is_tight && shard.patience == 0 {
            self.let_go(shard, now);
            shard.patience = shard.rows.len() / 8;
        }
        shard.patience = shard.patience.saturating_sub(1);
        one_more()
    }

    /// Lets go of the callers that are idle.
    fn let_go(&self, shard: &mut Shard, now: u64) {
        if now < shard.none_idle_before {
            return;
        }
        let before = shard.rows.len();
        let mut next = u64::MAX;
        shard.rows.retain(|row| {
            let full_at = row.bucket.full_at();
            next = next.min(full_at.max(now + 1));
            full_at > now
        });
        shard.none_idle_before = if shard.rows.is_empty() {
            0
        } else {
            next.min(now.saturating_add(ROUND_NANOS))
        };
        self.callers
            .fetch_sub(before - shard.rows.len(), Ordering::Relaxed);
    }

    /// Looks for idle callers in one shard, if nobody has for a while, so that a table that nobody new comes to shrinks, too.
    #[inline]
    fn look_around(&self, now: u64) {
        // Relaxed: lone numbers. Two who look at the same time look at two shards.
        if now >= self.next_look.load(Ordering::Relaxed) {
            self.look_at_next(now);
        }
    }

    #[cold]
    fn look_at_next(&self, now: u64) {
        let shards = self.shards.len();
        let pause = ROUND_NANOS / shards as u64;
        self.next_look
            .store(now.saturating_add(pause), Ordering::Relaxed);
        let next = self.next_shard.fetch_add(1, Ordering::Relaxed) % shards;
        // Whoever holds it is busy with it.
        let Ok(mut shard) = self.shards[next].try_lock() else {
            return;
        };
        self.let_go(&mut shard, now);
        if shard.rows.len() < shard.rows.capacity() / 4 {
            let few = shard.rows.len() * 2;
            shard.rows.shrink_to(few, |row| self.hash(&row.caller));
        }
    }

    fn hash(&self, caller: &Caller) -> u64 {
        let (first, second) = caller.words();
        let mut hasher = self.keys.build_hasher();
        hasher.write_u64(first);
        hasher.write_u64(second);
        hasher.finish()
    }

    fn lock(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // By the middle bits: hashbrown goes by the lowest and the highest.
        let part = (hash >> 16) & 0xffff_ffff;
        let shard = (part * self.shards.len() as u64) >> 32;
        lock(&self.shards[shard as usize])
    }
}

/// Nothing that is done under the lock leaves a shard half changed.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
