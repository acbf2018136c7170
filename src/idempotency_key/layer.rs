use http::HeaderName;
use tower_layer::Layer;

use super::IdempotencyKey;

const NAME: HeaderName = HeaderName::from_static("idempotency-key");

/// Adds an idempotency key to each request with an unsafe method.
///
/// See the [module docs](crate::idempotency_key) for an example and the layer ordering.
#[derive(Debug, Clone)]
#[must_use]
pub struct IdempotencyKeyLayer {
    name: HeaderName,
}

// ===== impl IdempotencyKeyLayer =====

impl IdempotencyKeyLayer {
    /// Creates a layer that sets the header `Idempotency-Key`.
    pub const fn new() -> Self {
        Self { name: NAME }
    }

    /// Sets the name of the header. Default: `Idempotency-Key`.
    pub fn name(mut self, name: HeaderName) -> Self {
        self.name = name;
        self
    }
}

crate::macros::default!(IdempotencyKeyLayer);

impl<S> Layer<S> for IdempotencyKeyLayer {
    type Service = IdempotencyKey<S>;

    fn layer(&self, inner: S) -> IdempotencyKey<S> {
        let name = self.name.clone();
        IdempotencyKey { inner, name }
    }
}
