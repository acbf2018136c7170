use std::sync::Arc;

use tower_service::Service;

use super::{
    body::{ResponseBody, Shareable},
    coalesce::Follower,
    enter::{Entered, enter},
    future::{ResponseFuture, State},
    policy::CachePolicy,
    store::Store,
};
use crate::http::{IntoHttp, PeekBody, RequestHead, WithBody};

/// Cache middleware, made by a [`CacheLayer`](super::CacheLayer).
#[derive(Debug, Clone)]
pub struct Cache<S> {
    pub(super) inner: S,
    pub(super) policy: Arc<CachePolicy>,
    pub(super) store: Arc<Store>,
}

// ===== impl Cache =====

impl<S> Cache<S> {
    crate::macros::inner!(inner);
}

impl<S, Request, R, B> Service<Request> for Cache<S>
where
    S: Service<Request, Response = R> + Clone,
    Request: RequestHead + PeekBody,
    R: IntoHttp<Body = B> + WithBody<ResponseBody>,
    B: Shareable,
{
    type Response = <R as WithBody<ResponseBody>>::Output;
    type Error = S::Error;
    type Future = ResponseFuture<S, Request>;

    // Whether it is needed depends on the request.
    crate::macros::poll_ready!(inner);

    fn call(&mut self, request: Request) -> Self::Future {
        let Some(mut lookup) = self.policy.lookup(&self.store, &request) else {
            let (future, lead) = (self.inner.call(request), None);
            let state = State::Calling { future, lead };
            return ResponseFuture { state };
        };
        let entered = enter(&mut lookup);
        if !matches!(entered, Entered::Lead(_)) {
            // Drops the instance that was polled ready and is not called. It may hold something,
            // such as the last permit of a limit, until this service is called again.
            self.inner = self.inner.clone();
        }
        let state = match entered {
            Entered::Hit(hit) => {
                crate::macros::event!(target: "tower_throttle::cache", "responding from the cache");
                State::Hit { hit: Some(hit) }
            }
            Entered::Lead(lead) => {
                let (future, lead) = (self.inner.call(request), Some(Box::new(lead)));
                State::Calling { future, lead }
            }
            Entered::Follow(reader) => {
                let call = (self.inner.clone(), request);
                let follower = Box::new(Follower::new(call, lookup, reader));
                State::Following { follower }
            }
        };
        ResponseFuture { state }
    }
}
