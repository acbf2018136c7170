use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tokio::time::Instant;
use tower_service::Service;

use super::{
    future::ResponseFuture,
    named,
    run::{Run, Services},
    target::Targets,
};
use crate::{
    ai::provider::{ByLength, Estimate, body::ResponseBody, future::SettlingResponse},
    error::BoxError,
    http::{IntoHttp, PeekBody, ReplaceBody, ResponseHead, TryClone, WithBody},
};

/// Service that sends each request to the first of several targets that admits it. Created by a
/// [`RouterLayer`](super::RouterLayer).
///
/// Clones share the targets and their limits.
pub struct Router<S, Request, E = ByLength> {
    pub(super) services: Services<S>,
    pub(super) targets: Arc<Targets<Request>>,
    pub(super) estimate: E,
}

// ===== impl Router =====

impl<S, Request, E> Service<Request> for Router<S, Request, E>
where
    S: Service<Request> + Clone,
    S::Response: WithBody<ResponseBody<<S::Response as IntoHttp>::Body>>,
    S::Error: Into<BoxError>,
    SettlingResponse<S::Response>: ResponseHead,
    E: Estimate<Request>,
    Request: PeekBody + ReplaceBody + TryClone,
{
    type Response = SettlingResponse<S::Response>;
    type Error = BoxError;
    type Future = ResponseFuture<S, Request>;

    /// Always ready: the request decides which service is used, so none is polled ready before.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let model = request.peek(named::model).flatten();
        let deadline = |max_wait| Instant::now().checked_add(max_wait);
        ResponseFuture::start(Box::new(Run {
            services: self.services.clone(),
            targets: self.targets.clone(),
            tokens: self.estimate.estimate(&request),
            deadline: self.targets.max_wait.and_then(deadline),
            left: self.targets.of(model.as_deref()),
            request: Some(request),
            model,
            tried: 0,
        }))
    }
}

crate::macros::clone!(impl<S, Request, E: Clone> Clone for Router<S, Request, E> {
    services, targets, estimate
});

crate::macros::debug!(impl<S, Request, E> Debug for Router<S, Request, E> |self| {
    targets: self.targets.list,
    ..
});
