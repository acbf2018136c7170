//! Whether a target is left alone for a while because it failed.

/// The state of one target.
#[derive(Debug)]
pub(super) struct Health;

/// A request that is under way to a target.
#[derive(Debug)]
pub(super) struct Watch;

// ===== impl Health =====

impl Health {
    pub(super) const fn new() -> Self {
        Self
    }

    /// Lets a request go there; `None` while the target is left alone.
    #[allow(clippy::unused_self, reason = "nothing is known of a target yet")]
    pub(super) fn enter(&self) -> Option<Watch> {
        Some(Watch)
    }
}

// ===== impl Watch =====

impl Watch {
    /// How it ended.
    #[allow(clippy::unused_self, reason = "nothing is known of a target yet")]
    pub(super) fn ended(self, _failed: bool) {}
}
