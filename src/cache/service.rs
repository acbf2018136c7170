use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};
use tower_service::Service;

use super::{
    body::{ResponseBody, Shareable},
    coalesce::{Entered, Follower, enter},
    future::{ResponseFuture, State},
    key::KeyPolicy,
    policy::{CachePolicy, Predicate},
    store::{CacheUsage, Store},
};
use crate::http::{IntoHttp, PeekBody, RequestHead, WithBody};

/// Caches responses, and calls the inner service once for equal requests at the same time.
///
/// See the [module docs](crate::cache) for an example and the layer ordering.
///
/// The layer's clones, and the services that they create, share a store. Keep a clone to watch the
/// [usage](Self::usage) or to [clear](Self::clear) the store.
#[derive(Debug, Clone)]
#[must_use]
pub struct CacheLayer {
    policy: Arc<CachePolicy>,
    store: Arc<Store>,
}

/// Cache middleware, made by a [`CacheLayer`].
#[derive(Debug, Clone)]
pub struct Cache<S> {
    inner: S,
    layer: CacheLayer,
}

// ===== impl CacheLayer =====

impl CacheLayer {
    /// Creates a layer that caches requests to endpoints of model APIs that only read.
    ///
    /// A request is cached if it is a `POST`, its path ends with one of these, and its body is a
    /// JSON object. Everything else is passed on as it is.
    ///
    /// - `/completions` (`/v1/chat/completions` included), `/embeddings`, `/moderations`, `/rerank`
    /// - `/responses`, if the body says `"store": false`
    /// - `/v1/messages`, `/v1/messages/count_tokens`
    /// - `:generateContent`, `:streamGenerateContent`, `:embedContent`, `:batchEmbedContents`,
    ///   `:countTokens`, `:predict`, `:rawPredict`, `:streamRawPredict`
    /// - `/v2/chat`, `/v1/embed`, `/v2/embed`
    ///
    /// A request is not cached if its body has `background`, `container`, `conversation`,
    /// `mcp_servers` or `store`, unless the value is `false` or `null`: it changes something at the
    /// provider. Tools that the provider runs are not looked at. If yours change something, use
    /// [`new`](Self::new).
    ///
    /// Defaults: 64 MiB of responses, each for an hour.
    pub fn completions() -> Self {
        Self::with(None)
    }

    /// Creates a layer that caches the `GET`, `HEAD` and `POST` requests for which a predicate
    /// returns true.
    ///
    /// Choose requests that only read: a repeated request does not reach the inner service.
    ///
    /// Defaults: 64 MiB of responses, each for an hour.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::{CacheLayer, RequestHead};
    ///
    /// let layer = CacheLayer::new(|request: &dyn RequestHead| request.path() == "/search");
    /// ```
    pub fn new(cacheable: impl Fn(&dyn RequestHead) -> bool + Send + Sync + 'static) -> Self {
        Self::with(Some(Arc::new(cacheable)))
    }

    fn with(cacheable: Option<Predicate>) -> Self {
        Self {
            policy: Arc::new(CachePolicy {
                ttl: Duration::from_secs(60 * 60),
                max_entry: 1 << 20,
                cacheable,
                key: KeyPolicy::new(),
                statuses: vec![StatusCode::OK],
                single_flight: true,
            }),
            store: Arc::new(Store::new(64 << 20)),
        }
    }

    /// Removes a request header from the key. Can be called several times.
    ///
    /// All request headers are part of the key, except [a short list](crate::cache#the-key).
    /// Requests that differ in an ignored header get each other's responses, so ignore only what
    /// never changes a response and never says who the client is.
    ///
    /// # Examples
    ///
    /// ```
    /// use http::HeaderName;
    /// use tower_throttle::CacheLayer;
    ///
    /// let layer = CacheLayer::completions().ignore_header(HeaderName::from_static("x-job-id"));
    /// ```
    pub fn ignore_header(self, name: HeaderName) -> Self {
        self.set(|policy| policy.key.ignore(name))
    }

    /// Adds an identity to the key that is not in the request's method, URL, headers or body, such
    /// as one that an outer layer puts in the extensions. Can be called several times.
    ///
    /// A request for which the closure returns `None` is not cached.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::{CacheLayer, RequestHead};
    ///
    /// #[derive(Clone)]
    /// struct Tenant(u64);
    ///
    /// let layer = CacheLayer::completions().key_also(|request: &dyn RequestHead| {
    ///     let tenant: &Tenant = request.extensions()?.get()?;
    ///     Some(tenant.0.to_string())
    /// });
    /// ```
    pub fn key_also<T: Into<Vec<u8>>>(
        self,
        identity: impl Fn(&dyn RequestHead) -> Option<T> + Send + Sync + 'static,
    ) -> Self {
        let identity = Arc::new(move |request: &dyn RequestHead| identity(request).map(Into::into));
        self.set(|policy| policy.key.add_identity(identity))
    }

    /// Sets how long a response is used. Default: one hour. A response's own `Cache-Control`
    /// can shorten it.
    ///
    /// With zero nothing is stored, and equal requests at the same time still share a response.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.set(|policy| policy.ttl = ttl)
    }

    /// Sets the maximum size of the store in bytes. Default: 64 MiB.
    ///
    /// It includes heads and bookkeeping. The least recently used response is removed first. This
    /// creates a new, empty store.
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.store = Arc::new(Store::new(max_bytes));
        self
    }

    /// Sets the maximum length of a cached body in bytes. Default: 1 MiB.
    ///
    /// It is also the maximum that is buffered of a body that several requests read.
    pub fn max_entry(self, max_entry: usize) -> Self {
        self.set(|policy| policy.max_entry = max_entry)
    }

    /// Sets the statuses of responses that are cached and shared. Default: 200.
    pub fn statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.set(|policy| policy.statuses = statuses.into_iter().collect())
    }

    /// Sets whether equal requests at the same time share a response. Default: `true`.
    pub fn single_flight(self, single_flight: bool) -> Self {
        self.set(|policy| policy.single_flight = single_flight)
    }

    /// Returns what the store holds, and how many requests it responded to.
    #[must_use]
    pub fn usage(&self) -> CacheUsage {
        self.store.usage()
    }

    /// Removes the response to a request from the store.
    ///
    /// A response that is not complete will be stored nevertheless.
    pub fn forget<R: RequestHead + PeekBody>(&self, request: &R) {
        if let Some(lookup) = self.policy.lookup(&self.store, request) {
            self.store.forget(&lookup.key);
        }
    }

    /// Removes all responses. Responses that are not complete will not be stored.
    pub fn clear(&self) {
        self.store.clear();
    }

    fn set(mut self, set: impl FnOnce(&mut CachePolicy)) -> Self {
        set(Arc::make_mut(&mut self.policy));
        self
    }
}

/// Records `tower_throttle_cache_requests_total`, `tower_throttle_cache_entries` and
/// `tower_throttle_cache_bytes`.
#[cfg(feature = "metrics")]
impl crate::telemetry::metrics::Publish for CacheLayer {
    fn publish(&self, name: &'static str) {
        use ::metrics::{counter, gauge};

        use crate::telemetry::metrics::{CACHE_BYTES, CACHE_ENTRIES, CACHE_REQUESTS};

        let usage = self.usage();
        let requests = [
            ("hit", usage.hits),
            ("miss", usage.misses),
            ("collapsed", usage.collapsed),
        ];
        for (result, count) in requests {
            counter!(CACHE_REQUESTS, "name" => name, "result" => result).absolute(count);
        }
        gauge!(CACHE_ENTRIES, "name" => name).set(usage.entries as f64);
        gauge!(CACHE_BYTES, "name" => name).set(usage.bytes as f64);
    }
}

crate::macros::layer!(impl Layer for CacheLayer => Cache);

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
        let CacheLayer { policy, store } = &self.layer;
        let Some(mut lookup) = policy.lookup(store, &request) else {
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
