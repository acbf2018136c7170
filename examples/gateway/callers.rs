//! Who sends a request, and the limits of each caller.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue},
    middleware::{Next, from_fn_with_state},
    response::Response,
};
use tower_throttle::{
    ConcurrencyLayer, Quota, Redis, RequestHead, SlidingWindowLayer,
    key::{ClientKey, Extension},
    per_key::{ByKey, InFlight, PerKeyLayer, PerKeyLimiter, RateLimitHeaders, ResetFormat, Window},
    provider::{ByLength, Estimate},
    rejection::AsError,
};

use crate::{
    failure::{self, Kind},
    routes::Gateway,
    settings::Caller,
};

/// The longest request that is read.
const MOST_BYTES: usize = 32 * 1024 * 1024;

/// A request whose caller is known; among the extensions.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) caller: Arc<Caller>,
    pub(crate) body: Bytes,
    /// The estimate of the prompt and of the longest response.
    pub(crate) tokens: u64,
}

/// The tokens that a response has used; among its extensions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Used(pub(crate) u64);

/// All callers, and the limits of each.
#[derive(Debug)]
pub(crate) struct Callers {
    pub(crate) all: Vec<Arc<Caller>>,
    by_key: HashMap<ClientKey, Arc<Caller>>,
    pub(crate) requests: PerKeyLimiter<Window>,
    pub(crate) tokens: PerKeyLimiter<Window>,
    pub(crate) concurrent: PerKeyLimiter<InFlight>,
}

/// A limit of each caller, before it is known how many units each has.
type Limit = PerKeyLayer<ByKey<Extension<ClientKey>>, AsError, Window>;

fn rate(name: &'static str, redis: Option<&Redis>) -> Limit {
    let layer = SlidingWindowLayer::new(Quota::UNLIMITED).name(name);
    let headers = RateLimitHeaders::default().x_rate_limit(ResetFormat::Delta);
    let layer = layer.per(Extension::new()).fields(headers);
    match redis {
        Some(redis) => layer.shared(redis, name),
        None => layer,
    }
}

/// Adds the limits of each caller to routes. Without callers everybody may send requests.
pub(crate) fn limited(
    routes: Router<Arc<Gateway>>,
    mut all: Vec<Caller>,
    redis: Option<&Redis>,
) -> (Router<Arc<Gateway>>, Arc<Callers>) {
    let quota = |units: Option<u64>| units.map_or(Quota::UNLIMITED, Quota::per_minute);
    let requests = rate("requests", redis)
        .limits_for(move |head| quota(call_of(head).and_then(|call| call.caller.rpm)))
        .exempt(|head| head.path() == "/v1/models")
        .respond_with(failure::of_caller);
    let tokens = rate("tokens", redis)
        .cost(|request: &Request| call_of(request).map_or(0, |call| call.tokens))
        .limits_for(move |head| quota(call_of(head).and_then(|call| call.caller.tpm)))
        .settle(|response: &Response| response.extensions().get().map_or(0, |used: &Used| used.0))
        .respond_with(failure::of_caller);
    let most = |head: &dyn RequestHead| call_of(head).and_then(|call| call.caller.concurrent);
    // Requests in flight cannot be shared.
    let concurrent = ConcurrencyLayer::new(usize::MAX)
        .per(Extension::<ClientKey>::new())
        .limits_for(move |head| most(head).unwrap_or(usize::MAX))
        .respond_with(failure::of_caller);

    if all.is_empty() {
        all.push(Caller::default());
    }
    let all: Vec<_> = all.into_iter().map(Arc::new).collect();
    let by_key = |it: &Arc<Caller>| Some((ClientKey::secret(it.secret()?), it.clone()));
    let callers = Arc::new(Callers {
        by_key: all.iter().filter_map(by_key).collect(),
        all,
        requests: requests.limiter().clone(),
        tokens: tokens.limiter().clone(),
        concurrent: concurrent.limiter().clone(),
    });
    let recognize = from_fn_with_state(callers.clone(), recognize);
    // The last one sees a request first.
    let routes = routes.layer(concurrent).layer(tokens).layer(requests);
    (routes.layer(recognize), callers)
}

fn call_of(head: &dyn RequestHead) -> Option<&Call> {
    head.extensions()?.get()
}

/// Finds the caller of a request, and reads its body.
async fn recognize(State(callers): State<Arc<Callers>>, request: Request, next: Next) -> Response {
    let Some(caller) = callers.caller(request.headers()).cloned() else {
        return Kind::WRONG_KEY.response("missing or wrong API key");
    };
    let (mut head, body) = request.into_parts();
    let Ok(body) = to_bytes(body, MOST_BYTES).await else {
        return Kind::TOO_LARGE.response("the request is longer than 32 MiB, or broke off");
    };
    let estimate = ByLength::new().estimate(&axum::http::Request::new(body.clone()));
    let tokens = estimate.input.saturating_add(estimate.output);
    head.extensions.insert(ClientKey::from(&*caller.name));

    head.extensions.insert(Call {
        caller,
        body,
        tokens,
    });
    next.run(Request::from_parts(head, Body::empty())).await
}

// ===== impl Callers =====

impl Callers {
    /// The caller whose API key a request has. Keys are compared by their hash, so that the time
    /// which that takes says nothing about them.
    fn caller(&self, headers: &HeaderMap) -> Option<&Arc<Caller>> {
        if self.by_key.is_empty() {
            return self.all.first();
        }
        let bearer = headers.get("authorization").map(HeaderValue::as_bytes);
        let bearer = bearer.and_then(|value| value.strip_prefix(b"Bearer "));
        let plain = headers.get("x-api-key").map(HeaderValue::as_bytes);
        self.by_key.get(&ClientKey::secret(bearer.or(plain)?))
    }
}
