//! The lines of those who wait, one for each caller of whom somebody does, and one for newcomers to a full table.

use std::sync::Arc;

use hashbrown::{HashTable, hash_table::Entry};
use tokio::sync::Notify;

use crate::{
    Rejected,
    key::Caller,
    limit::{Place, Queued, Turnstile},
};

/// A line.
#[derive(Debug)]
pub(super) struct Line {
    turnstile: Turnstile,
    changed: Notify,
}

/// The lines of some callers, and of some newcomers.
#[derive(Default)]
pub(super) struct Lines(HashTable<Of>);

struct Of {
    whose: Whose,
    hash: u64,
    line: Arc<Line>,
}

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Caller(Caller),
    /// That of all who came when the table was full, and wait for what they share.
    Newcomers,
}

// ===== impl Whose =====

impl Whose {
    /// That of its caller, where it is somebody's own.
    fn hash(self, callers: u64) -> u64 {
        match self {
            Self::Caller(_) => callers,
            Self::Newcomers => 0,
        }
    }
}

// ===== impl Line =====

impl Line {
    pub(super) fn set_max_waiting(&self, max_waiting: usize) {
        self.turnstile.set_max_waiting(max_waiting);
    }

    /// Tells the head that what it waits for may be there.
    pub(super) fn look_again(&self) {
        self.changed.notify_one();
    }

    /// For the head: waits until it was told to look again. Being told while nobody waits counts, too.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Queued for Line {
    #[allow(private_interfaces)]
    fn turnstile(&self) -> &Turnstile {
        &self.turnstile
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
        let of = self.0.find(whose.hash(hash), |of| of.whose == whose);
        of.map_or(0, |of| match of.line.turnstile.waiting() {
            // The last one is just leaving.
            0 => 0,
            _ => of.line.turnstile.units().max(1),
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
        join: impl FnOnce(Arc<Line>) -> Result<Place<Line>, Rejected>,
    ) -> Result<Place<Line>, Rejected> {
        let hash = whose.hash(hash);
        let is_theirs = |of: &Of| of.whose == whose;
        match self.0.entry(hash, is_theirs, |of| of.hash) {
            Entry::Occupied(of) => join(of.get().line.clone()),
            Entry::Vacant(none) => {
                let line = Arc::new(Line {
                    turnstile: Turnstile::new(),
                    changed: Notify::new(),
                });
                let place = join(line.clone())?;
                none.insert(Of { whose, hash, line });
                Ok(place)
            }
        }
    }

    /// Lets go of the line of `whose` if nobody is in it any more.
    pub(super) fn leave(&mut self, hash: u64, whose: Whose) {
        let is_over = |of: &Of| of.whose == whose && of.line.turnstile.waiting() == 0;
        if let Ok(of) = self.0.find_entry(whose.hash(hash), is_over) {
            of.remove();
        }
        if self.0.is_empty() {
            self.0 = HashTable::new();
        }
    }

    /// The line of `caller`, and that of newcomers, in which it may wait, too.
    pub(super) fn of(&self, hash: u64, caller: Caller) -> Vec<Arc<Line>> {
        if self.0.is_empty() {
            return Vec::new();
        }
        let find = |whose: Whose| self.0.find(whose.hash(hash), |of| of.whose == whose);
        let both = [Whose::Caller(caller), Whose::Newcomers].map(find);
        both.into_iter()
            .flatten()
            .map(|of| of.line.clone())
            .collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Line>> {
        self.0.iter().map(|of| of.line.clone()).collect()
    }
}
