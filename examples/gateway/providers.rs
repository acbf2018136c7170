//! The layers between a request and the providers of its API.

use std::{collections::HashMap, sync::Arc, time::Duration};

use anyhow::Result;
use reqwest::{
    Request, Response,
    header::{AUTHORIZATION, HeaderValue},
};
use tower::{ServiceBuilder, util::BoxCloneSyncService};
use tower_throttle::{
    BoxError, CacheLayer, Circuit, FallbackLayer, Redis, RetryAfterBackoffLayer, StreamErrorLayer,
    TimeoutLayer,
    fallback::Condition,
    provider::ProviderLimiter,
    router::{NoTargetAvailable, RouterLayer, Target},
};

use crate::{config::Configured, figures::ProviderCounts, settings::Settings};

/// How long a response may take to begin, or to continue.
const TIMEOUT: Duration = Duration::from_secs(120);

/// Where Anthropic's API is.
pub(crate) const MESSAGES: &str = "/v1/messages";

/// A provider, as the page shows it.
#[derive(Debug)]
pub(crate) struct Provider {
    pub(crate) name: String,
    /// The path of the API that it speaks.
    pub(crate) api: &'static str,
    pub(crate) model: Option<String>,
    pub(crate) limiter: ProviderLimiter,
    pub(crate) circuit: Circuit,
    pub(crate) counts: Arc<ProviderCounts>,
}

/// Responds to the requests of one API.
pub(crate) type Client = BoxCloneSyncService<Request, Response, BoxError>;

/// All providers, and the clients of each API that one of them speaks.
#[derive(Debug, Default)]
pub(crate) struct Providers {
    pub(crate) all: Vec<Provider>,
    pub(crate) clients: HashMap<&'static str, Client>,
}

// ===== impl Providers =====

impl Providers {
    pub(crate) fn new(settings: &Settings) -> Result<Self> {
        let mut providers = Self::default();
        for (api, configured) in [
            ("/v1/chat/completions", &settings.provider),
            ("/v1/embeddings", &settings.embeddings),
            (MESSAGES, &settings.messages),
        ] {
            if !configured.is_empty() {
                let client = providers.client(api, configured, settings)?;
                providers.clients.insert(api, client);
            }
        }
        Ok(providers)
    }

    /// Cache, fallback, retry and router, and for each provider the detection of errors in streams
    /// and timeouts.
    fn client(
        &mut self,
        api: &'static str,
        configured: &[Configured],
        settings: &Settings,
    ) -> Result<Client> {
        let mut targets = Vec::new();
        let mut wires = HashMap::new();
        for one in configured {
            let (provider, target) = provider(api, one, settings.redis.as_ref());
            targets.push((&one.name, target));
            let wire = (one.endpoint.client()?, provider.counts.clone());
            wires.insert(&*one.name, wire);
            self.all.push(provider);
        }
        let wire = |name: &str| {
            let (client, counts) = wires[name].clone();
            ServiceBuilder::new()
                .map_result(move |result| counts.observe(result))
                .layer(StreamErrorLayer::new())
                .layer(TimeoutLayer::new().attempt(TIMEOUT).between_chunks(TIMEOUT))
                .service(client)
        };
        let max_wait = Duration::from_secs(settings.max_wait.unwrap_or(120));
        let router = RouterLayer::ranked().max_wait(max_wait);
        let names = settings.fallback.iter().map(|name| name.get_ref());
        let backups = names.filter_map(|name| targets.iter().find(|(of, _)| *of == name));
        let backups: Vec<_> = backups.map(|(_, target)| target.clone()).collect();
        let fallback = (!backups.is_empty()).then(|| {
            // They share the limits and the circuits of the providers.
            let router = router.clone().always();
            let backups = backups.into_iter().fold(router, RouterLayer::target);
            let is_known = Condition::error::<NoTargetAvailable>().not();
            FallbackLayer::new(backups.services(wire)).when(Condition::failure().and(is_known))
        });
        // With a backup, one retry is enough.
        let attempts = if fallback.is_some() { 2 } else { 5 };
        let retry = RetryAfterBackoffLayer::new()
            .retry_non_idempotent()
            .attempts(attempts)
            .attempts_in_errors();
        let targets = targets.into_iter().map(|(_, target)| target);
        // Each caller has responses of its own: its name is in a header.
        let ttl = settings.cache.map(Duration::from_secs);
        let client = ServiceBuilder::new()
            .option_layer(ttl.map(|ttl| CacheLayer::completions().ttl(ttl)))
            .option_layer(fallback)
            .layer(retry)
            .service(targets.fold(router, RouterLayer::target).services(wire));
        Ok(BoxCloneSyncService::new(client))
    }
}

/// A provider, and what the router knows of it.
fn provider(
    api: &'static str,
    configured: &Configured,
    redis: Option<&Redis>,
) -> (Provider, Target<Request>) {
    let limiter = configured.limiter();
    let provider = Provider {
        name: configured.name.clone(),
        api,
        model: configured.endpoint.model.clone(),
        limiter: match redis {
            Some(redis) => limiter.shared(redis, &format!("provider-{}", configured.name)),
            None => limiter,
        },
        // A probe that fails costs little, since the request goes to another provider.
        circuit: Circuit::new().cooldown(Duration::from_secs(1), Duration::from_secs(10)),
        counts: Arc::default(),
    };
    let mut target = Target::new(&*provider.name, provider.limiter.clone());
    if let Some(model) = &provider.model {
        target = target.model(&**model);
    }
    // The router sets the model.
    let endpoint = configured.endpoint.clone().with_model(None);
    let target = target.circuit(provider.circuit.clone());
    // Sets its URL and its key, in place of the caller's name.
    let map = move |request| in_form(api, endpoint.redirect(&endpoint, request));
    (provider, target.map_request(map))
}

/// Anthropic has another header for the key, and a version.
fn in_form(api: &str, mut request: Request) -> Request {
    if api != MESSAGES {
        return request;
    }
    let headers = request.headers_mut();
    if let Some(bearer) = headers.remove(AUTHORIZATION) {
        let key = bearer.as_bytes().strip_prefix(b"Bearer ");
        if let Ok(mut key) = HeaderValue::from_bytes(key.unwrap_or_default()) {
            key.set_sensitive(true);
            headers.insert("x-api-key", key);
        }
    }
    let version = HeaderValue::from_static("2023-06-01");
    headers.entry("anthropic-version").or_insert(version);
    request
}
