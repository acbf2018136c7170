use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};
use tower_layer::Layer;

use super::{
    Cache, Usage,
    key::KeyPolicy,
    rules::{Cacheable, Rules},
    store::Store,
};
use crate::{PeekBody, RequestHead};

/// 64 MiB.
const MAX_BYTES: u64 = 64 << 20;
/// 1 MiB.
const MAX_ENTRY: usize = 1 << 20;
const TTL: Duration = Duration::from_secs(60 * 60);

/// Answers from what was answered before, and asks once for equal requests.
///
/// See the [module docs](crate::cache) for an example and the order of layers.
///
/// Its clones, and the services that these make, share what is kept, so a clone serves to watch and to [clear](Self::clear) it.
#[derive(Debug, Clone)]
#[must_use]
pub struct CacheLayer {
    rules: Arc<Rules>,
    store: Arc<Store>,
}

// ===== impl CacheLayer =====

impl CacheLayer {
    /// Creates a layer that caches requests to endpoints of model APIs that only read.
    ///
    /// A request is cached if it is a `POST`, its path ends with one of these, and its body is a JSON
    /// object. Everything else is passed on as it is.
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
        Self::with(Cacheable::Completions)
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
        Self::with(Cacheable::Custom(Arc::new(cacheable)))
    }

    fn with(cacheable: Cacheable) -> Self {
        Self {
            rules: Arc::new(Rules {
                ttl: TTL,
                max_entry: MAX_ENTRY,
                cacheable,
                key: KeyPolicy::new(),
                statuses: vec![StatusCode::OK],
                deterministic_only: false,
                single_flight: true,
            }),
            store: Arc::new(Store::new(MAX_BYTES)),
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
        self.set(|rules| rules.key.ignore(name))
    }

    /// Adds an identity to the key that is not in the request's method, URL, headers or body, such as
    /// one that an outer layer puts in the extensions. Can be called several times.
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
        self.set(|rules| rules.key.add_identity(identity))
    }

    /// How long an answer is used. An hour unless told otherwise, and less where the answer's `Cache-Control` says so.
    ///
    /// With zero nothing is kept, and equal requests that are under way at the same time still share an answer.
    pub fn ttl(self, ttl: Duration) -> Self {
        self.set(|rules| rules.ttl = ttl)
    }

    /// The most that all answers together may take, in bytes, with their heads and what keeping them costs. 64 MiB unless told
    /// otherwise; what was used longest ago goes first.
    ///
    /// To be set before the layer is used: nothing of what it holds is taken along.
    pub fn max_bytes(mut self, max_bytes: u64) -> Self {
        self.store = Arc::new(Store::new(max_bytes));
        self
    }

    /// The longest body that is kept, and the most that is held of one that is under way. 1 MiB unless told otherwise.
    pub fn max_entry(self, max_entry: usize) -> Self {
        self.set(|rules| rules.max_entry = max_entry)
    }

    /// The statuses of answers that are kept and shared. 200 alone unless told otherwise.
    pub fn statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.set(|rules| rules.statuses = statuses.into_iter().collect())
    }

    /// Leaves POSTs alone unless they ask for a `temperature` of 0, or for embeddings.
    ///
    /// Otherwise an answer that was drawn at random is given again like any other.
    pub fn deterministic_only(self) -> Self {
        self.set(|rules| rules.deterministic_only = true)
    }

    /// Whether equal requests under way share one answer. They do unless told otherwise.
    pub fn single_flight(self, single_flight: bool) -> Self {
        self.set(|rules| rules.single_flight = single_flight)
    }

    /// What is kept, and what was answered so far.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.store.usage()
    }

    /// Forgets the answer to this request.
    ///
    /// An answer that is under way is kept all the same.
    pub fn forget<R: RequestHead + PeekBody>(&self, request: &R) {
        if let Some(ask) = self.rules.ask(request) {
            self.store.forget(&ask.key);
        }
    }

    /// Forgets everything. Answers that are under way are not kept.
    pub fn clear(&self) {
        self.store.clear();
    }

    fn set(mut self, set: impl FnOnce(&mut Rules)) -> Self {
        set(Arc::make_mut(&mut self.rules));
        self
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache::new(inner, self.rules.clone(), self.store.clone())
    }
}
