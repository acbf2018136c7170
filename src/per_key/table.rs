//! A bounded table of buckets, one for each caller that is not idle.
//!
//! It is cut into shards, each with a lock of its own that is held for a look-up. A caller whose bucket is full again is as
//! good as one who never came, so its place is free; whoever brings a new caller looks for such places once in a while, and so does
//! anybody now and then, one shard at a time.

use std::{
    hash::{BuildHasher, Hasher, RandomState},
    sync::{
        Mutex, MutexGuard, PoisonError, TryLockError,
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

/// So many at the most: a bound that is no bound must not cost memory before anybody comes.
const MOST_SHARDS: usize = 4_096;

/// How long it takes at the least until every shard has been looked at.
const ROUND_NANOS: u64 = 10_000_000_000;

/// How long nobody looks at a shard that was looked at, so that a flood of new callers costs a look now and then and not each.
const PAUSE_NANOS: u64 = 100_000_000;

/// How long a table counts as full in which no room was found.
const FULL_NANOS: u64 = 1_000_000;

pub(super) struct Table {
    shards: Box<[Mutex<Shard>]>,
    keys: RandomState,
    callers: AtomicUsize,
    max_callers: usize,
    /// When the next shard is to be looked at, and which one that is.
    next_look: AtomicU64,
    next_shard: AtomicUsize,
    /// Until when it is known that there is no room.
    full_until: AtomicU64,
}

struct Shard {
    rows: HashTable<Row>,
    /// The bucket of those who came when the table was full.
    newcomers: Bucket,
    quota: Quota,
    refill: Refill,
    /// When the first of those seen at the last look is idle, or soon enough after it.
    look_again_at: u64,
}

struct Row {
    caller: Caller,
    bucket: Bucket,
}

// ===== impl Table =====

impl Table {
    pub(super) fn new(quota: Quota, max_callers: usize) -> Self {
        let shards = max_callers
            .div_ceil(A_SHARD)
            .clamp(FEWEST_SHARDS, MOST_SHARDS);
        let shard = || {
            Mutex::new(Shard {
                rows: HashTable::new(),
                newcomers: Bucket::FULL,
                quota,
                refill: Refill::new(&quota),
                look_again_at: 0,
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
        }
    }

    /// Takes `cost` units from the bucket of `caller`, by the table's quota unless another one is given.
    pub(super) fn take(&self, caller: Caller, cost: u64, quota: Option<Quota>, now: u64) -> Taken {
        let hash = self.hash(&caller);
        let taken = {
            let shard = &mut *self.lock(hash);
            let refill = quota.map_or(shard.refill, |quota| Refill::new(&quota));
            match shard.rows.find_mut(hash, |row| row.caller == caller) {
                Some(row) => row.bucket.take(cost, refill, now),
                None => {
                    let mut bucket = Bucket::FULL;
                    let taken = bucket.take(cost, refill, now);
                    if self.keep(shard, Row { caller, bucket }, hash, now) {
                        taken
                    } else {
                        // Who shares a bucket shares its quota: a better one would fill it for all the others, too.
                        let refill = shard.refill;
                        shard.newcomers.take(cost, refill, now)
                    }
                }
            }
        };
        self.look_around(now);
        taken
    }

    /// Gives every caller without a quota of its own another one. What they have used stays used.
    pub(super) fn set_quota(&self, quota: Quota, now: u64) {
        let refill = Refill::new(&quota);
        for shard in &self.shards {
            let shard = &mut *lock(shard);
            let before = shard.refill;
            let shared = std::iter::once(&mut shard.newcomers);
            let own = shard.rows.iter_mut().map(|row| &mut row.bucket);
            for bucket in shared
                .chain(own)
                .filter(|bucket| bucket.refills_by(&before))
            {
                bucket.refill_by(&refill, now);
            }
            (shard.quota, shard.refill) = (quota, refill);
            shard.look_again_at = 0;
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

    /// Keeps the bucket of one who had none, if there is room for it.
    #[cold]
    fn keep(&self, shard: &mut Shard, row: Row, hash: u64, now: u64) -> bool {
        let full_at = row.bucket.full_at();
        if full_at <= now {
            // Nothing was taken: the same as not kept.
            return true;
        }
        if !self.make_room(shard, now) {
            return false;
        }
        let soonest = now.saturating_add(PAUSE_NANOS);
        shard.look_again_at = shard.look_again_at.min(full_at.max(soonest));
        shard
            .rows
            .insert_unique(hash, row, |row| self.hash(&row.caller));
        true
    }

    /// Counts one caller more, if there is room for it.
    fn make_room(&self, shard: &mut Shard, now: u64) -> bool {
        // Before the table of the shard grows, and where the whole is full.
        if shard.rows.len() == shard.rows.capacity() || self.callers() >= self.max_callers {
            self.let_go(shard, now);
        }
        self.one_more() || self.make_room_elsewhere(now)
    }

    /// Looks for idle callers in other shards: all of a small table, and some of a large one, of which the next who comes looks at
    /// the next. Where there are none, nobody does again for a while.
    fn make_room_elsewhere(&self, now: u64) -> bool {
        if now < self.full_until.load(Ordering::Relaxed) {
            return false;
        }
        let found = (0..FEWEST_SHARDS).any(|_| self.look_at_next(now) && self.one_more());
        if !found {
            let until = now.saturating_add(FULL_NANOS);
            self.full_until.store(until, Ordering::Relaxed);
        }
        found
    }

    fn one_more(&self) -> bool {
        let relaxed = Ordering::Relaxed;
        let more = |callers| (callers < self.max_callers).then(|| callers + 1);
        self.callers.fetch_update(relaxed, relaxed, more).is_ok()
    }

    /// Lets go of the callers that are idle, unless somebody has just done so. Whether there were any.
    fn let_go(&self, shard: &mut Shard, now: u64) -> bool {
        if now < shard.look_again_at {
            return false;
        }
        let before = shard.rows.len();
        let mut next_idle = u64::MAX;
        shard.rows.retain(|row| {
            let full_at = row.bucket.full_at();
            let is_idle = full_at <= now;
            if !is_idle {
                next_idle = next_idle.min(full_at);
            }
            !is_idle
        });
        let soonest = now.saturating_add(PAUSE_NANOS);
        shard.look_again_at = next_idle.clamp(soonest, soonest.saturating_add(ROUND_NANOS));
        let idle = before - shard.rows.len();
        self.callers.fetch_sub(idle, Ordering::Relaxed);
        idle > 0
    }

    /// Looks for idle callers in one shard, if nobody has for a while, so that a table that nobody new comes to shrinks, too.
    #[inline]
    fn look_around(&self, now: u64) {
        // Relaxed: lone numbers. Two who look at the same time look at two shards.
        if now >= self.next_look.load(Ordering::Relaxed) {
            self.look_and_wait(now);
        }
    }

    #[cold]
    fn look_and_wait(&self, now: u64) {
        let pause = ROUND_NANOS / self.shards.len() as u64;
        self.next_look
            .store(now.saturating_add(pause), Ordering::Relaxed);
        self.look_at_next(now);
    }

    /// Looks for idle callers in the shard whose turn it is. Whether there were any.
    fn look_at_next(&self, now: u64) -> bool {
        let next = self.next_shard.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        // Whoever holds it is busy with it; it may be the one who asks.
        let mut shard = match self.shards[next].try_lock() {
            Ok(shard) => shard,
            Err(TryLockError::Poisoned(shard)) => shard.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let freed = self.let_go(&mut shard, now);
        if shard.rows.len() < shard.rows.capacity() / 4 {
            let few = shard.rows.len() * 2;
            shard.rows.shrink_to(few, |row| self.hash(&row.caller));
        }
        freed
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
