//! The lines of those who wait, one for each caller of whom somebody does, and one for newcomers to a full table.

use std::{sync::Arc, time::Duration};

use hashbrown::{HashTable, hash_table::Entry};

use crate::{
    error::Rejected,
    limit::{
        engine::{WaitQueue, Waiter},
        key::ClientKey,
    },
};

/// The lines of some callers, and of some newcomers.
#[derive(Default)]
pub(super) struct Lines(HashTable<Line>);

struct Line {
    whose: Whose,
    hash: u64,
    queue: Arc<WaitQueue>,
}

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    ClientKey(ClientKey),
    /// That of all who came when the table was full, and wait for what they share.
    Newcomers,
}

/// How long newcomers to a full table wait for what they share before they look whether there are places again.
const NEWCOMERS_LOOK_AGAIN: Duration = Duration::from_secs(1);

// ===== impl Whose =====

impl Whose {
    /// That of its caller, where it is somebody's own.
    fn hash(self, callers: u64) -> u64 {
        match self {
            Self::ClientKey(_) => callers,
            Self::Newcomers => 0,
        }
    }
}

// ===== impl Lines =====

impl Lines {
    /// What those want together who wait in the line of `whose`, and at least 1 if there is somebody.
    #[inline]
    pub(super) fn units(&self, hash: u64, whose: Whose) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        let line = self.0.find(whose.hash(hash), |line| line.whose == whose);
        line.map_or(0, |line| match line.queue.waiting() {
            // The last one is just leaving.
            0 => 0,
            _ => line.queue.units().max(1),
        })
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds somebody to the line of `whose`, which is made if there is none.
    pub(super) fn join(
        &mut self,
        hash: u64,
        whose: Whose,
        join: impl FnOnce(Arc<WaitQueue>) -> Result<Waiter, Rejected>,
    ) -> Result<Waiter, Rejected> {
        let hash = whose.hash(hash);
        let is_theirs = |line: &Line| line.whose == whose;
        match self.0.entry(hash, is_theirs, |line| line.hash) {
            Entry::Occupied(line) => join(line.get().queue.clone()),
            Entry::Vacant(none) => {
                let is_shared = whose == Whose::Newcomers;
                let look_again = is_shared.then_some(NEWCOMERS_LOOK_AGAIN);
                let queue = Arc::new(WaitQueue::new(look_again));
                let place = join(queue.clone())?;
                none.insert(Line { whose, hash, queue });
                Ok(place)
            }
        }
    }

    /// Lets go of the lines in which `caller` may have waited, if nobody is in them any more.
    pub(super) fn leave(&mut self, hash: u64, caller: ClientKey) {
        for whose in [Whose::ClientKey(caller), Whose::Newcomers] {
            let is_over = |line: &Line| line.whose == whose && line.queue.waiting() == 0;
            if let Ok(line) = self.0.find_entry(whose.hash(hash), is_over) {
                line.remove();
            }
        }
        if self.0.is_empty() {
            self.0 = HashTable::new();
        }
    }

    /// The line of `caller`, and that of newcomers, in which it may wait, too.
    pub(super) fn of(&self, hash: u64, caller: ClientKey) -> Vec<Arc<WaitQueue>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let find = |whose: Whose| self.0.find(whose.hash(hash), |line| line.whose == whose);
        let both = [Whose::ClientKey(caller), Whose::Newcomers].map(find);
        both.into_iter()
            .flatten()
            .map(|line| line.queue.clone())
            .collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<WaitQueue>> {
        self.0.iter().map(|line| line.queue.clone()).collect()
    }
}
