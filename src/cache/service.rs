use std::{
    sync::Arc,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{
    body::ResponseBody,
    channel::Shareable,
    future::ResponseFuture,
    lead::Lead,
    rules::{Asked, Rules},
    store::{Found, Store},
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

    /// The service inside.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service inside, to change.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service inside, taken out.
    pub fn into_inner(self) -> S {
        self.inner
    }
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
    R: IntoHttp<Body = B> + WithBody<ResponseBody<B>>,
    B: Shareable,
{
    type Response = <R as WithBody<ResponseBody<B>>>::Output;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future>;

    /// Passes through: whether the inner service is needed is in the request.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Some(ask) = self.rules.ask(&request, &self.store.keyring) else {
            return ResponseFuture::calling(self.inner.call(request), None);
        };
        let why = match self.store.find(&ask, request.headers()) {
            Found::Hit(entry, told) => {
                self.store.counts.hits.add();
                #[cfg(feature = "tracing")]
                tracing::debug!("answered from the cache");
                self.let_go();
                return ResponseFuture::hit(entry, told);
            }
            Found::Nothing(why) => why,
        };
        self.store.counts.misses.add();
        let lead = Lead {
            key: ask.key,
            why,
            asked: Asked::new(&request),
            rules: self.rules.clone(),
            store: self.store.clone(),
            generation: self.store.generation(),
        };
        ResponseFuture::calling(self.inner.call(request), Some(lead))
    }
}
