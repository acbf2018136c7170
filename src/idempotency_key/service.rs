use http::{HeaderName, HeaderValue};
use tower_service::Service;

use super::key::uuid;
use crate::http::{RequestHead, is_idempotent};

const NAME: HeaderName = HeaderName::from_static("idempotency-key");

/// Adds an idempotency key to each request with an unsafe method.
///
/// See the [module docs](crate::idempotency_key) for an example and the layer ordering.
#[derive(Debug, Clone)]
#[must_use]
pub struct IdempotencyKeyLayer {
    name: HeaderName,
}

/// Idempotency key middleware, made by an [`IdempotencyKeyLayer`].
#[derive(Debug, Clone)]
pub struct IdempotencyKey<S> {
    inner: S,
    layer: IdempotencyKeyLayer,
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

crate::macros::layer!(impl Layer for IdempotencyKeyLayer => IdempotencyKey);

// ===== impl IdempotencyKey =====

impl<S> IdempotencyKey<S> {
    crate::macros::inner!(inner);
}

impl<S, Request> Service<Request> for IdempotencyKey<S>
where
    S: Service<Request>,
    Request: RequestHead,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    crate::macros::poll_ready!(inner);

    fn call(&mut self, mut request: Request) -> S::Future {
        let name = &self.layer.name;
        if !is_idempotent(request.method()) && !request.headers().contains_key(name) {
            if let Ok(key) = HeaderValue::try_from(uuid(rand::random())) {
                // Fails only if there are tens of thousands of headers.
                let _ = request.headers_mut().try_insert(name, key);
                crate::macros::event!(
                    target: "tower_throttle::idempotency_key",
                    header = %name, "adding an idempotency key"
                );
            }
        }
        self.inner.call(request)
    }
}
