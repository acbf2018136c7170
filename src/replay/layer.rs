use tower_layer::Layer;

use super::Replay;

/// 8 MiB.
const MAX_BYTES: usize = 8 << 20;

/// Records bodies while they are sent, so that layers inside can send them again.
///
/// See the [module docs](crate::replay) for an example and the order of layers.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct ReplayLayer {
    max_bytes: usize,
}

// ===== impl ReplayLayer =====

impl ReplayLayer {
    /// A layer that records up to 8 MiB of a body.
    pub const fn new() -> Self {
        Self {
            max_bytes: MAX_BYTES,
        }
    }

    /// The most that is recorded of a body. 8 MiB unless told otherwise; a body that turns out to be longer is sent once.
    pub const fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }
}

impl Default for ReplayLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ReplayLayer {
    type Service = Replay<S>;

    fn layer(&self, inner: S) -> Replay<S> {
        Replay::new(inner, self.max_bytes)
    }
}
