use tower_layer::Layer;

use super::Replay;

const MAX_BYTES: usize = 8 << 20;

/// Records bodies while they are sent, so that inner layers can send them again.
///
/// See the [module docs](crate::replay) for an example and the layer ordering.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct ReplayLayer {
    max_bytes: usize,
}

// ===== impl ReplayLayer =====

impl ReplayLayer {
    /// Creates a layer that records up to 8 MiB of a body.
    pub const fn new() -> Self {
        Self {
            max_bytes: MAX_BYTES,
        }
    }

    /// Sets how many bytes of a body are recorded. Default: 8 MiB. A longer body is sent once.
    pub const fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }
}

crate::macros::default!(ReplayLayer);

impl<S> Layer<S> for ReplayLayer {
    type Service = Replay<S>;

    fn layer(&self, inner: S) -> Replay<S> {
        let max_bytes = self.max_bytes;
        Replay { inner, max_bytes }
    }
}
