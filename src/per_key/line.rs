//! The lines of those who wait, one for each caller of whom somebody does.

use std::sync::Arc;

use hashbrown::{HashTable, hash_table::Entry};
use tokio::sync::Notify;

use crate::{
    Rejected,
    key::Caller,
    limit::{Place, Queued, Turnstile},
};

/// The line of one caller.
#[derive(Debug)]
pub(super) struct Line {
    turnstile: Turnstile,
    changed: Notify,
}

/// The lines of some callers.
#[derive(Default)]
pub(super) struct Lines(HashTable<Of>);

struct Of {
    caller: Caller,
    hash: u64,
    line: Arc<Line>,
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
    /// What those want together who wait in the line of `caller`, and at least 1 if there is somebody.
    #[inline]
    pub(super) fn units(&self, hash: u64, caller: Caller) -> u64 {
        if self.0.is_empty() {
            return 0;
        }
        let of = self.0.find(hash, |of| of.caller == caller);
        of.map_or(0, |of| match of.line.turnstile.waiting() {
            // The last one is just leaving.
            0 => 0,
            _ => of.line.turnstile.units().max(1),
        })
    }

    /// Adds somebody to the line of `caller`, which is made if there is none.
    pub(super) fn join(
        &mut self,
        hash: u64,
        caller: Caller,
        join: impl FnOnce(Arc<Line>) -> Result<Place<Line>, Rejected>,
    ) -> Result<Place<Line>, Rejected> {
        let is_caller = |of: &Of| of.caller == caller;
        match self.0.entry(hash, is_caller, |of| of.hash) {
            Entry::Occupied(of) => join(of.get().line.clone()),
            Entry::Vacant(none) => {
                let line = Arc::new(Line {
                    turnstile: Turnstile::new(),
                    changed: Notify::new(),
                });
                let place = join(line.clone())?;
                none.insert(Of { caller, hash, line });
                Ok(place)
            }
        }
    }

    /// Lets go of the line of `caller` if nobody is in it any more.
    pub(super) fn leave(&mut self, hash: u64, caller: Caller) {
        let is_over = |of: &Of| of.caller == caller && of.line.turnstile.waiting() == 0;
        if let Ok(of) = self.0.find_entry(hash, is_over) {
            of.remove();
        }
        if self.0.is_empty() {
            self.0 = HashTable::new();
        }
    }

    /// The line of `caller`, or all of them where what they wait for is `shared`.
    pub(super) fn of(&self, hash: u64, caller: Caller, shared: bool) -> Vec<Arc<Line>> {
        if shared {
            return self.all();
        }
        let of = self.0.find(hash, |of| of.caller == caller);
        of.map(|of| of.line.clone()).into_iter().collect()
    }

    pub(super) fn all(&self) -> Vec<Arc<Line>> {
        self.0.iter().map(|of| of.line.clone()).collect()
    }
}
