//! What all handles of a limiter share.

use std::{
    fmt,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use super::{
    RejectedRequest,
    ask::{Demand, Who},
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
    pub(super) hook: OnceLock<Hook>,
    /// That requests have no peer is logged once.
    #[cfg(feature = "tracing")]
    pub(super) peer_missing: std::sync::Once,
}

pub(super) type Hook = Arc<dyn Fn(&RejectedRequest) + Send + Sync>;

// ===== impl PerKeySettings =====

impl PerKeySettings {
    pub(super) fn new() -> Self {
        Self {
            shadow: AtomicBool::new(false),
            hook: OnceLock::new(),
            #[cfg(feature = "tracing")]
            peer_missing: std::sync::Once::new(),
        }
    }
}

impl Clone for PerKeySettings {
    fn clone(&self) -> Self {
        Self {
            shadow: self.shadow.load(Ordering::Relaxed).into(),
            hook: self.hook.clone(),
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

    /// Tells of a request that is refused, or would be.
    #[cold]
    pub(super) fn tell(&self, asked: &Demand<K::Plan>, rejected: &Rejected, passed: bool) {
        self.refused.fetch_add(1, Ordering::Relaxed);
        if let Some(hook) = self.settings.hook.get() {
            let is_known = !matches!(asked.who, Who::Unknown(_) | Who::NoPeer);
            hook(&RejectedRequest {
                caller: is_known.then(|| asked.caller()),
                rejected: rejected.clone(),
                passed,
            });
        }
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
