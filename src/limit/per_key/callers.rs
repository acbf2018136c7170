//! What all handles of a limiter share.

use std::{
    fmt,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{
    ask::Demand,
    kind::{Kind, Want},
    table::{Admission, Table},
};
use crate::{
    error::Rejected,
    limit::{clock::Clock, key::ClientKey},
};

/// The state that all handles share.
pub struct Callers<K: Kind> {
    pub(super) table: Table<K>,
    pub(super) clock: Clock,
    pub(super) refused: AtomicU64,
    pub(super) settings: PerKeySettings,
}

/// What may be changed at any time. A lone value each, so all is relaxed.
pub(super) struct PerKeySettings {
    pub(super) shadow: AtomicBool,
    /// That requests have no peer is logged once.
    #[cfg(feature = "tracing")]
    pub(super) peer_missing: std::sync::Once,
}

// ===== impl PerKeySettings =====

impl PerKeySettings {
    pub(super) fn new() -> Self {
        Self {
            shadow: AtomicBool::new(false),
            #[cfg(feature = "tracing")]
            peer_missing: std::sync::Once::new(),
        }
    }
}

impl Clone for PerKeySettings {
    fn clone(&self) -> Self {
        Self {
            shadow: self.shadow.load(Ordering::Relaxed).into(),
            #[cfg(feature = "tracing")]
            peer_missing: std::sync::Once::new(),
        }
    }
}

// ===== impl Callers =====

impl<K: Kind> Callers<K> {
    #[inline]
    pub(super) fn take(
        &self,
        caller: ClientKey,
        plan: Option<K::Plan>,
        want: Want,
    ) -> Admission<K> {
        self.table.take(caller, plan, want, self.clock.now())
    }

    pub(super) fn is_shadow(&self) -> bool {
        self.settings.shadow.load(Ordering::Relaxed)
    }

    /// Counts a request that is rejected, or would be without the shadow.
    pub(super) fn count_rejection(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether there is room for the head of a line, and how its caller stands.
    pub(super) fn room(&self, asked: &Demand<K::Plan>) -> (Result<(), Rejected>, K::Left) {
        let now = self.clock.now();
        self.table.room(asked.caller(), asked.plan, asked.cost, now)
    }
}

impl<K: Kind> fmt::Debug for Callers<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callers").finish_non_exhaustive()
    }
}
