//! The state that all handles of a limiter share.

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

#[cfg(feature = "redis")]
use super::shared::ClientLinks;
use super::{by_key::Demand, kind::Kind, table::Table};
use crate::{
    error::Rejected,
    limit::{clock::Clock, key::ClientKey},
};

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

    /// Applies the limits and the names of the table to those that processes share.
    pub(super) fn set_shared_limits(&self) {
        #[cfg(feature = "redis")]
        if let Some(shared) = &self.shared {
            shared.set_limits(self.table.limits(), self.table.names());
        }
    }

    /// Returns whether there is room for the head of a queue, and the state of its key.
    pub(super) fn room(&self, demand: &Demand<K::Plan>) -> (Result<(), Rejected>, K::Left) {
        let now = self.clock.now();
        self.table
            .room(demand.counted_key(), demand.plan, demand.cost, now)
    }
}

crate::macros::debug!(impl<K: Kind> Debug for PerKeyState<K> |self| { .. });
