use http::HeaderName;
use tower_layer::Layer;

use super::IdempotencyKey;

const NAME: HeaderName = HeaderName::from_static("idempotency-key");

/// Gives each request with an unsafe method an idempotency key.
///
/// See the [module docs](crate::idempotency_key) for an example and the order of layers.
#[derive(Debug, Clone)]
#[must_use]
pub struct IdempotencyKeyLayer {
    name: HeaderName,
}

// ===== impl IdempotencyKeyLayer =====

impl IdempotencyKeyLayer {
    /// A layer that sets `Idempotency-Key`.
    pub const fn new() -> Self {
        Self { name: NAME }
    }

    /// The header that the key stands in. `Idempotency-Key` unless told otherwise.
    pub fn name(mut self, name: HeaderName) -> Self {
        self.name = name;
        self
    }
}

impl Default for IdempotencyKeyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for IdempotencyKeyLayer {
    type Service = IdempotencyKey<S>;

    fn layer(&self, inner: S) -> IdempotencyKey<S> {
        IdempotencyKey::new(inner, self.name.clone())
    }
}
