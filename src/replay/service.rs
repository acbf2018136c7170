use http::Request;
use http_body::Body;
use tower_service::Service;

use super::body::ReplayBody;

/// Records bodies while they are sent, so that inner layers can send them again.
///
/// See the [module docs](crate::replay) for an example and the layer ordering.
#[derive(Debug, Clone, Copy)]
#[must_use]
pub struct ReplayLayer {
    max_bytes: usize,
}

/// Replay middleware, made by a [`ReplayLayer`].
#[derive(Debug, Clone)]
pub struct Replay<S> {
    inner: S,
    layer: ReplayLayer,
}

// ===== impl ReplayLayer =====

impl ReplayLayer {
    /// Creates a layer that records up to 8 MiB of a body.
    pub const fn new() -> Self {
        Self { max_bytes: 8 << 20 }
    }

    /// Sets how many bytes of a body are recorded. Default: 8 MiB. A longer body is sent once.
    pub const fn max_bytes(mut self, max_bytes: usize) -> Self {
        self.max_bytes = max_bytes;
        self
    }
}

crate::macros::default!(ReplayLayer);

crate::macros::layer!(impl Layer for ReplayLayer => Replay);

// ===== impl Replay =====

impl<S> Replay<S> {
    crate::macros::inner!(inner);
}

impl<S, B> Service<Request<B>> for Replay<S>
where
    S: Service<Request<ReplayBody<B>>>,
    B: Body,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    crate::macros::poll_ready!(inner);

    fn call(&mut self, request: Request<B>) -> S::Future {
        let max_bytes = self.layer.max_bytes;
        let request = request.map(|body| ReplayBody::new(body, max_bytes));
        self.inner.call(request)
    }
}
