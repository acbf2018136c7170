//! The state that all handles of a limiter share.

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(feature = "redis")]
use super::shared::ClientLinks;
use super::{kind::Kind, table::Table};
#[cfg(feature = "redis")]
use crate::limit::store::handle::Handle;
use crate::limit::{clock::Clock, key::ClientKey};

/// The state that all handles of a limiter share.
pub struct PerKeyState<K: Kind> {
    pub(super) table: Table<K>,
    pub(super) clock: Clock,
    pub(super) rejections: AtomicU64,
    pub(super) shadow: AtomicBool,
    /// If several processes share the limits. The table is empty then.
    #[cfg(feature = "redis")]
    pub(super) shared: Option<Arc<ClientLinks<K>>>,
    /// That requests have no peer is logged once.
    #[cfg(feature = "tracing")]
    pub(super) peer_missing: std::sync::Once,
}

// ===== impl PerKeyState =====

impl<K: Kind> PerKeyState<K> {
    pub(super) fn new(table: Table<K>, clock: Clock, shadow: bool) -> Self {
        Self {
            table,
            clock,
            rejections: AtomicU64::new(0),
            shadow: AtomicBool::new(shadow),
            #[cfg(feature = "redis")]
            shared: None,
            #[cfg(feature = "tracing")]
            peer_missing: std::sync::Once::new(),
        }
    }

    // Relaxed: lone values.

    pub(super) fn is_shadow(&self) -> bool {
        self.shadow.load(Ordering::Relaxed)
    }

    /// Counts a request that is rejected, or would be if the limit were not a shadow.
    pub(super) fn count_rejection(&self) {
        self.rejections.fetch_add(1, Ordering::Relaxed);
    }

    /// Shows each client in memory, and the units that it has in use.
    pub(super) fn each(&self, show: impl FnMut(ClientKey, u64)) {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            return shared.each(show);
        }
        self.table.each(self.clock.now(), show);
    }

    /// Shares the limits with all processes that use the same name in the store.
    #[cfg(feature = "redis")]
    pub(super) fn in_store(mut self, (store, name): (Arc<Handle>, Arc<str>)) -> Self {
        let Table { max_keys, .. } = self.table;
        let limits = self.table.limits_and_names();
        self.shared = Some(ClientLinks::new(store, name, limits, max_keys));
        self
    }

    /// Changes the limits of each key that has none of its own, or their names.
    pub(super) fn change_plan(&self, change: impl FnOnce(&mut K::Plan, &mut K::Names)) {
        self.table.change_plan(change, self.clock.now());
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            let (limits, names) = self.table.limits_and_names();
            shared.set_limits(limits, names);
        }
    }
}

crate::macros::debug!(impl<K: Kind> Debug for PerKeyState<K> |self| { .. });
