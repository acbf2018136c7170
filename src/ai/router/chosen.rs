//! How a caller can tell who answered.

use std::sync::Arc;

use crate::http::ResponseHead;

/// Which target gave a response, as it stands in the response's extensions.
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
    /// Who gave this response; `None` where no [`Router`](super::Router) chose.
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Option<&Self> {
        response.extensions().get()
    }

    /// The name of the target.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The target's model; `None` where the target takes requests as they are.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        self.model.as_deref()
    }

    /// How many targets had been tried before, and failed.
    #[must_use]
    pub const fn tried(&self) -> usize {
        self.tried
    }
}
