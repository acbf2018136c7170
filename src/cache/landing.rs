//! Where an answer goes when it has come to its end.

use std::sync::Arc;

use super::{entry::Entry, key::Key, store::Store};

#[derive(Debug)]
pub(super) struct Landing {
    pub(super) store: Arc<Store>,
    pub(super) key: Key,
    pub(super) generation: u64,
}

// ===== impl Landing =====

impl Landing {
    pub(super) fn keep(&self, entry: Entry) {
        self.store.keep(self.key, self.generation, entry);
    }

    /// It will not be kept.
    #[allow(clippy::unused_self, reason = "for what comes next")]
    pub(super) fn abandon(&self) {
        #[cfg(feature = "tracing")]
        tracing::debug!("an answer is not kept");
    }
}
