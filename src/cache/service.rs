use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    body::{ResponseBody, Shareable},
    coalesce::Follower,
    future::ResponseFuture,
    policy::Policy,
    store::{Entered, Store},
};
use crate::http::{IntoHttp, PeekBody, RequestHead, WithBody};

/// A service with a response cache. Created by [`CacheLayer`](super::CacheLayer).
#[derive(Debug, Clone)]
pub struct Cache<S> {
    inner: S,
    policy: Arc<Policy>,
    store: Arc<Store>,
}

// ===== impl Cache =====

impl<S> Cache<S> {
    pub(super) const fn new(inner: S, policy: Arc<Policy>, store: Arc<Store>) -> Self {
        Self {
            inner,
            policy,
            store,
        }
    }

    crate::macros::inner!(inner);
}

impl<S: Clone> Cache<S> {
    /// Drops the instance that was polled ready and is not called. It may hold something, such as
    /// the last permit of a limit, until this service is called again.
    fn let_go(&mut self) {
        self.inner = self.inner.clone();
    }
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

    /// Polls the inner service. Whether it is needed depends on the request.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Some(lookup) = self.policy.lookup(&request) else {
            return ResponseFuture::calling(self.inner.call(request), None);
        };
        match self.store.enter(&lookup, &self.policy) {
            Entered::Hit(hit) => {
                #[cfg(feature = "tracing")]
                tracing::debug!("responding from the cache");
                self.let_go();
                ResponseFuture::hit(hit)
            }
            Entered::Lead(lead) => ResponseFuture::calling(self.inner.call(request), Some(lead)),
            Entered::Follow(reader, why) => {
                self.let_go();
                let shared = (self.store.clone(), self.policy.clone());
                let call = (self.inner.clone(), request);
                let follower = Follower::new(call, (lookup, why), shared, reader);
                ResponseFuture::following(follower)
            }
        }
    }
}
