use http::Request;
use http_body::Body;
use tower_service::Service;

use super::body::ReplayBody;

/// Replay middleware, made by a [`ReplayLayer`](super::ReplayLayer).
#[derive(Debug, Clone)]
pub struct Replay<S> {
    pub(super) inner: S,
    pub(super) max_bytes: usize,
}

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
        let max_bytes = self.max_bytes;
        let request = request.map(|body| ReplayBody::new(body, max_bytes));
        self.inner.call(request)
    }
}
