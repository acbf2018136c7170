//! The target that was selected.

use std::sync::Arc;

use crate::http::ResponseHead;

/// Response extension that names the target of a response.
///
/// See the [module docs](crate::router) for an example.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SelectedTarget {
    pub(super) target: Arc<str>,
    pub(super) model: Option<Arc<str>>,
    pub(super) tried: usize,
}

// ===== impl SelectedTarget =====

impl SelectedTarget {
    /// Returns the target of this response; `None` if no [`Router`](super::Router) selected one.
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Option<&Self> {
        response.extensions().get()
    }

    /// Returns the name of the target.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the target's model; `None` if the target has none.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// Returns the number of targets that failed before.
    #[must_use]
    pub const fn tried(&self) -> usize {
        self.tried
    }
}
