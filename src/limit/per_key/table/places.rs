//! Which keys have a row: new ones if there is room, and none that is idle.

use std::sync::{TryLockError, atomic::Ordering};

use hashbrown::hash_table::OccupiedEntry;

use super::{FEWEST_SHARDS, Kind, Queues, Row, Shard, Table};
use crate::limit::per_key::kind::later;

/// The shortest time in which every shard is looked at.
const ROUND_NANOS: u64 = 10_000_000_000;

/// The pause after a look at a shard, so that a flood of new keys does not look at it each time.
const PAUSE_NANOS: u64 = 100_000_000;

/// How long a table counts as full after a look that found no room.
const FULL_NANOS: u64 = 1_000_000;

impl<K: Kind> Table<K> {
    /// Keeps the count of a key that had no row, if there is room for it.
    #[cold]
    pub(super) fn keep(&self, shard: &mut Shard<K>, row: Row<K>, hash: u64, now: u64) -> bool {
        let idle_at = row.count.idle_at();
        if idle_at <= now {
            // Nothing was taken.
            return true;
        }
        if !self.make_room(shard, now) {
            return false;
        }
        let soonest = now.saturating_add(PAUSE_NANOS);
        shard.look_again_at = shard.look_again_at.min(idle_at.max(soonest));
        let rows = &mut shard.rows;
        rows.insert_unique(hash, row, |row| self.hash(&row.key));
        true
    }

    /// Removes the row of a key that is idle, unless requests wait for it.
    pub(super) fn let_go_if_idle(
        &self,
        row: OccupiedEntry<'_, Row<K>>,
        queues: &Queues,
        given: &mut u64,
        now: u64,
    ) {
        let Row { key, count } = row.get();
        if count.idle_at() <= now && queues.units(Some(*key)) == 0 {
            *given = later(*given, count.given());
            row.remove();
            self.keys.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts one more key, if there is room for it.
    fn make_room(&self, shard: &mut Shard<K>, now: u64) -> bool {
        // Before the hash table of the shard grows, and if the whole table is full.
        if shard.rows.len() == shard.rows.capacity() || self.keys() >= self.max_keys {
            self.let_go(shard, now);
        }
        self.one_more() || self.make_room_elsewhere(now)
    }

    /// Looks for idle keys in other shards: all of a small table, and some of a large one, which
    /// differ each time. If there are none, the next look is after a while.
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
        let more = |keys| (keys < self.max_keys).then(|| keys + 1);
        self.keys.fetch_update(relaxed, relaxed, more).is_ok()
    }

    /// Removes idle keys, unless that was just done. Returns whether there were any.
    fn let_go(&self, shard: &mut Shard<K>, now: u64) -> bool {
        if now < shard.look_again_at {
            return false;
        }
        let before = shard.rows.len();
        let mut next_idle = u64::MAX;
        let (queues, given) = (&shard.queues, &mut shard.given);
        shard.rows.retain(|row| {
            let idle_at = row.count.idle_at();
            let stays = idle_at > now || queues.units(Some(row.key)) > 0;
            if stays {
                next_idle = next_idle.min(idle_at);
            } else {
                *given = later(*given, row.count.given());
            }
            stays
        });
        let soonest = now.saturating_add(PAUSE_NANOS);
        shard.look_again_at = next_idle.clamp(soonest, soonest.saturating_add(ROUND_NANOS));
        let idle = before - shard.rows.len();
        self.keys.fetch_sub(idle, Ordering::Relaxed);
        idle > 0
    }

    /// Looks for idle keys in one shard now and then, so that a table without new keys shrinks as
    /// well.
    #[inline]
    pub(super) fn look_around(&self, now: u64) {
        // Relaxed: lone numbers. Two looks at the same time are at two shards.
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

    /// Looks for idle keys in the next shard. Returns whether there were any.
    fn look_at_next(&self, now: u64) -> bool {
        let next = self.next_shard.fetch_add(1, Ordering::Relaxed) % self.shards.len();
        // It may be locked by this request.
        let mut shard = match self.shards[next].try_lock() {
            Ok(shard) => shard,
            Err(TryLockError::Poisoned(shard)) => shard.into_inner(),
            Err(TryLockError::WouldBlock) => return false,
        };
        let freed = self.let_go(&mut shard, now);
        if shard.rows.len() < shard.rows.capacity() / 4 {
            let few = shard.rows.len() * 2;
            shard.rows.shrink_to(few, |row| self.hash(&row.key));
        }
        freed
    }
}
