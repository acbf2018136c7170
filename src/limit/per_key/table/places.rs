//! Who has a place in the table: newcomers if there is room, nobody who is idle.

use std::sync::{TryLockError, atomic::Ordering};

use hashbrown::hash_table::OccupiedEntry;

use super::{ClientKey, FEWEST_SHARDS, Kind, Lines, Row, Shard, Table, Whose};
use crate::limit::per_key::kind::later;

/// How long it takes at the least until every shard has been looked at.
const ROUND_NANOS: u64 = 10_000_000_000;

/// How long nobody looks at a shard that was looked at, so that a flood of new callers costs a look now and then and not each.
const PAUSE_NANOS: u64 = 100_000_000;

/// How long a table counts as full in which no room was found.
const FULL_NANOS: u64 = 1_000_000;

impl<K: Kind> Table<K> {
    /// Keeps what is counted of one who had no row, if there is room for it.
    #[cold]
    pub(super) fn keep(&self, shard: &mut Shard<K>, row: Row<K>, hash: u64, now: u64) -> bool {
        let idle_at = row.count.idle_at();
        if idle_at <= now {
            // Nothing was taken: the same as not kept.
            return true;
        }
        if !self.make_room(shard, now) {
            return false;
        }
        let soonest = now.saturating_add(PAUSE_NANOS);
        shard.look_again_at = shard.look_again_at.min(idle_at.max(soonest));
        shard
            .rows
            .insert_unique(hash, row, |row| self.hash(&row.caller));
        true
    }

    /// Lets go of a caller that is idle. A place that somebody waits for is kept for them.
    pub(super) fn let_go_if_idle(
        &self,
        row: OccupiedEntry<'_, Row<K>>,
        lines: &Lines,
        given: &mut u64,
        hash: u64,
        now: u64,
    ) {
        let Row { caller, count } = row.get();
        if count.idle_at() <= now && lines.units(hash, Whose::ClientKey(*caller)) == 0 {
            *given = later(*given, count.given());
            row.remove();
            self.callers.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Counts one caller more, if there is room for it.
    fn make_room(&self, shard: &mut Shard<K>, now: u64) -> bool {
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
    fn let_go(&self, shard: &mut Shard<K>, now: u64) -> bool {
        if now < shard.look_again_at {
            return false;
        }
        let before = shard.rows.len();
        let mut next_idle = u64::MAX;
        let (lines, given) = (&shard.lines, &mut shard.given);
        let is_waited_for = |caller: ClientKey| {
            !lines.is_empty() && lines.units(self.hash(&caller), Whose::ClientKey(caller)) > 0
        };
        shard.rows.retain(|row| {
            let idle_at = row.count.idle_at();
            let stays = idle_at > now || is_waited_for(row.caller);
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
        self.callers.fetch_sub(idle, Ordering::Relaxed);
        idle > 0
    }

    /// Looks for idle callers in one shard, if nobody has for a while, so that a table that nobody new comes to shrinks, too.
    #[inline]
    pub(super) fn look_around(&self, now: u64) {
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
}
