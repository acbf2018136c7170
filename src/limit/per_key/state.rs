//! The state that all handles of a limiter share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::{by_key::Demand, kind::Kind, table::Table};
use crate::{error::Rejected, limit::clock::Clock};

/// The state that all handles of a limiter share.
pub struct PerKeyState<K: Kind> {
    pub(super) table: Table<K>,
    pub(super) clock: Clock,
    pub(super) rejections: AtomicU64,
    pub(super) shadow: AtomicBool,
    /// That requests have no peer is logged once.
    #[cfg(feature = "tracing")]
    pub(super) peer_missing: std::sync::Once,
}

// ===== impl PerKeyState =====

impl<K: Kind> PerKeyState<K> {
    pub(super) fn new(table: Table<K>, clock: Clock, shadow: bool) -> Arc<Self> {
        Arc::new(Self {
            table,
            clock,
            rejections: AtomicU64::new(0),
            shadow: AtomicBool::new(shadow),
            #[cfg(feature = "tracing")]
            peer_missing: std::sync::Once::new(),
        })
    }

    // Relaxed: lone values.

    pub(super) fn is_shadow(&self) -> bool {
        self.shadow.load(Ordering::Relaxed)
    }

    /// Counts a request that is rejected, or would be if the limit were not a shadow.
    pub(super) fn count_rejection(&self) {
        self.rejections.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether there is room for the head of a queue, and the state of its key.
    pub(super) fn room(&self, demand: &Demand<K::Plan>) -> (Result<(), Rejected>, K::Left) {
        let now = self.clock.now();
        self.table
            .room(demand.counted_key(), demand.plan, demand.cost, now)
    }
}

crate::macros::debug!(impl<K: Kind> Debug for PerKeyState<K> |self| { .. });
