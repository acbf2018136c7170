use std::{sync::Arc, time::Duration};

use http::{HeaderName, StatusCode};
use tower_layer::Layer;

use super::{Cache, Usage, rules::Rules, store::Store};
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
    /// A layer that keeps 64 MiB of answers, each for an hour.
    pub fn new() -> Self {
        Self {
            rules: Arc::new(Rules {
                ttl: TTL,
                max_entry: MAX_ENTRY,
                headers: Vec::new(),
                statuses: vec![StatusCode::OK],
                per_caller: true,
                deterministic_only: false,
                single_flight: true,
            }),
            store: Arc::new(Store::new(MAX_BYTES)),
        }
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

    /// Takes two requests for equal only if this header is, too. Can be called several times.
    ///
    /// The headers that answers of AI providers depend on are among them anyway: see the [module docs](crate::cache#what-is-equal).
    pub fn header(self, name: HeaderName) -> Self {
        self.set(|rules| rules.headers.push(name))
    }

    /// The statuses of answers that are kept and shared. 200 alone unless told otherwise.
    pub fn statuses(self, statuses: impl IntoIterator<Item = StatusCode>) -> Self {
        self.set(|rules| rules.statuses = statuses.into_iter().collect())
    }

    /// Gives an answer to whoever asks the same, also with another API key or cookie.
    ///
    /// Only where all callers may see all answers, as those of one team. Answers that call themselves `private` are not kept then.
    pub fn shared_between_callers(self) -> Self {
        self.set(|rules| rules.per_caller = false)
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
        if let Some(ask) = self.rules.ask(request, &self.store.keyring) {
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

impl Default for CacheLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CacheLayer {
    type Service = Cache<S>;

    fn layer(&self, inner: S) -> Cache<S> {
        Cache::new(inner, self.rules.clone(), self.store.clone())
    }
}
