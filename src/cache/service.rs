use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    body::ResponseBody,
    follow::Following,
    future::ResponseFuture,
    lead::Lead,
    original::Shareable,
    rules::{Asked, Rules},
    store::{Entered, Store},
};
use crate::{IntoHttp, PeekBody, RequestHead, WithBody};

/// A service whose answers are given again. Made by a [`CacheLayer`](super::CacheLayer).
#[derive(Debug, Clone)]
pub struct Cache<S> {
    inner: S,
    rules: Arc<Rules>,
    store: Arc<Store>,
}

// ===== impl Cache =====

impl<S> Cache<S> {
    pub(super) const fn new(inner: S, rules: Arc<Rules>, store: Arc<Store>) -> Self {
        Self {
            inner,
            rules,
            store,
        }
    }

    crate::accessors::inner!(inner);
}

impl<S: Clone> Cache<S> {
    /// Lets go of the instance that was polled ready and is not called: what it holds, such as the only permit of a limit
    /// further in, would be held until somebody calls this service again.
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

    /// Passes through: whether the inner service is needed is in the request.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Some(ask) = self.rules.ask(&request) else {
            return ResponseFuture::calling(self.inner.call(request), None);
        };
        match self.store.enter(&ask, &self.rules) {
            Entered::Hit(entry, told) => {
                self.store.counts.hits.add();
                #[cfg(feature = "tracing")]
                tracing::debug!("answered from the cache");
                self.let_go();
                ResponseFuture::hit(entry, told)
            }
            Entered::Lead(landing, charge, why) => {
                let asked = Asked::new(&request);
                let lead = Lead::new(landing, charge, why, asked, self.rules.clone());
                ResponseFuture::calling(self.inner.call(request), Some(lead))
            }
            Entered::Follow(ticket, why) => {
                self.let_go();
                let (service, rules) = (self.inner.clone(), self.rules.clone());
                let following = Following::new(service, request, ticket, ask.max_age, rules, why);
                ResponseFuture::following(following)
            }
        }
    }
}
