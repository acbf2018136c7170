use http::{HeaderName, HeaderValue};
use tower_service::Service;

use super::key::random_uuid;
use crate::http::{RequestHead, is_idempotent};

/// Idempotency key middleware, made by an [`IdempotencyKeyLayer`](super::IdempotencyKeyLayer).
#[derive(Debug, Clone)]
pub struct IdempotencyKey<S> {
    pub(super) inner: S,
    pub(super) name: HeaderName,
}

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
        if !is_idempotent(request.method()) && !request.headers().contains_key(&self.name) {
            if let Ok(key) = HeaderValue::try_from(random_uuid()) {
                // Fails only if there are tens of thousands of headers.
                let _ = request.headers_mut().try_insert(self.name.clone(), key);
                crate::macros::event!(
                    target: "tower_throttle::idempotency_key",
                    header = %self.name, "adding an idempotency key"
                );
            }
        }
        self.inner.call(request)
    }
}
