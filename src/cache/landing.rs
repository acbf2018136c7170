//! Where an answer goes when it has come to its end.

use std::sync::Arc;

use super::{entry::Entry, key::CacheKey, store::Store};

/// A request's place in the store.
#[derive(Debug, Clone)]
pub(super) struct Landing {
    pub(super) store: Arc<Store>,
    pub(super) key: CacheKey,
    /// Of its flight, if others can find it.
    pub(super) number: Option<u64>,
    pub(super) generation: u64,
}

// ===== impl Landing =====

impl Landing {
    /// Keeps the answer, and lets nobody else follow: they find it in the store.
    pub(super) fn keep(&self, entry: Entry) {
        self.store.keep(self.key, self.generation, entry);
        self.land();
    }

    /// The same for an answer that nobody follows.
    pub(super) fn alone(&self) -> Self {
        Self {
            number: None,
            ..self.clone()
        }
    }

    /// Lets nobody else follow. There is nothing to keep.
    pub(super) fn abandon(&self) {
        #[cfg(feature = "tracing")]
        tracing::debug!("an answer is not kept");
        self.land();
    }

    fn land(&self) {
        if let Some(number) = self.number {
            self.store.land(&self.key, number);
        }
    }
}
