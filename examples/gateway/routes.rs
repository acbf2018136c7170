//! The routes, and what a response is on its way back.

use std::{convert::Infallible, sync::Arc, time::Duration};

use anyhow::Result;
use axum::{
    Extension, Json, Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderMap, HeaderName, HeaderValue, Uri, response::Parts},
    response::{
        Html, Response,
        sse::{Event, Sse},
    },
    routing::{get, post},
};
use futures::{Stream, TryStreamExt, stream};
use reqwest::{Method, Request, Url, header::AUTHORIZATION};
use serde_json::{Value, json};
use tokio::{sync::watch, time::interval};
use tower::ServiceExt;
use tower_throttle::{BoxError, IntoHttp, Redis, cache::Status, router::SelectedTarget};

use crate::{
    callers::{self, Call, Callers, Used},
    failure::{self, Kind},
    figures::{self, Counts},
    providers::Providers,
    settings::{Caller, Settings},
    tokens::TokenReader,
};

/// The longest response that is no stream.
const MOST_BYTES: usize = 64 * 1024 * 1024;
/// The time between two updates of the page.
const UPDATE: Duration = Duration::from_millis(500);
/// The request headers that a provider sees. No other one leaves the gateway, such as a key.
const REQUEST_HEADERS: &str = "accept content-type anthropic-version anthropic-beta";
/// The response headers that a caller sees. The provider's limits are no matter of the caller.
const RESPONSE_HEADERS: &str = "age cache-status content-type request-id retry-after \
                                retry-after-ms x-request-id x-should-retry";

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) callers: Arc<Callers>,
    pub(crate) providers: Providers,
    pub(crate) counts: Counts,
    pub(crate) redis: Option<Redis>,
    is_closed: watch::Sender<bool>,
}

/// A response on its way to the caller. When it is dropped, what it has used counts.
struct Delivery {
    gateway: Arc<Gateway>,
    caller: Arc<Caller>,
    reader: TokenReader,
    /// If the stream does not say it.
    tokens: u64,
    _in_flight: Arc<()>,
}

/// Makes the gateway and its routes.
pub(crate) fn app(settings: Settings) -> Result<(Arc<Gateway>, Router)> {
    let limited = Router::new()
        .route("/v1/chat/completions", post(respond))
        .route("/v1/embeddings", post(respond))
        .route("/v1/messages", post(respond))
        .route("/v1/models", get(models));
    let providers = Providers::new(&settings)?;
    let redis = settings.redis;
    let (limited, callers) = callers::limited(limited, settings.caller, redis.as_ref());
    let gateway = Arc::new(Gateway {
        callers,
        providers,
        counts: Counts::default(),
        redis,
        is_closed: watch::Sender::new(false),
    });
    let metrics = async |State(it): Gate| figures::metrics(&it.snapshot());
    let missing = async |uri: Uri| Kind::NOT_FOUND.response(&format!("no such URL: {uri}"));
    let app = Router::new()
        .route("/", get(Html(include_str!("page.html"))))
        .route("/events", get(events))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || "ok\n"))
        .merge(limited)
        .fallback(missing)
        .with_state(gateway.clone());
    Ok((gateway, app))
}

type Gate = State<Arc<Gateway>>;

/// Sends a request to a provider of its API.
async fn respond(
    State(gateway): Gate,
    Extension(call): Extension<Call>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let in_flight = gateway.counts.enter(&call.caller);
    let Some(client) = gateway.providers.clients.get(uri.path()).cloned() else {
        let message = format!("no provider speaks {}: add one to the file", uri.path());
        return Kind::NOT_FOUND.response(&message);
    };
    let result = async { client.oneshot(request(&uri, &headers, &call)?).await }.await;
    gateway.counts.observe(result.as_ref());
    let response = match result {
        Ok(response) => response,
        Err(error) => return failure::of_error(&error),
    };
    let is_hit = matches!(Status::of(&response), Some(Status::Hit | Status::Collapsed));
    let is_free = is_hit || !response.status().is_success();
    let (head, body) = told(response);
    let delivery = Delivery {
        gateway,
        reader: TokenReader::default(),
        tokens: if is_free { 0 } else { call.tokens },
        caller: call.caller,
        _in_flight: in_flight,
    };
    delivery.pass_on(head, body).await
}

/// The request as the layers see it. The provider that is chosen has its own URL and key.
fn request(uri: &Uri, headers: &HeaderMap, call: &Call) -> Result<Request, BoxError> {
    let url = Url::parse(&format!("http://gateway{}", uri.path()))?;
    let mut request = Request::new(Method::POST, url);
    *request.headers_mut() = some(headers, REQUEST_HEADERS);
    // So that the cache keeps callers apart.
    let caller = HeaderValue::from_bytes(call.caller.name.as_bytes())?;
    request.headers_mut().insert(AUTHORIZATION, caller);
    *request.body_mut() = Some(call.body.clone().into());
    Ok(request)
}

/// The headers with these names, as far as there are any.
fn some(all: &HeaderMap, names: &'static str) -> HeaderMap {
    let header = |name| Some((HeaderName::from_static(name), all.get(name)?.clone()));
    names.split(' ').filter_map(header).collect()
}

/// A response with the headers that a caller may see.
fn told(response: reqwest::Response) -> (Parts, Body) {
    let target = SelectedTarget::of(&response).map(|it| HeaderValue::from_str(it.target()));
    let (mut head, body) = response.into_http().into_parts();
    head.headers = some(&head.headers, RESPONSE_HEADERS);
    if let Some(Ok(target)) = target {
        head.headers.insert("x-provider", target);
    }
    (head, Body::new(body))
}

/// The models by their names, in the forms of OpenAI and Anthropic at once.
async fn models(State(gateway): Gate) -> Json<Value> {
    let all = gateway.providers.all.iter();
    let named = all.map(|one| (one.model.as_deref().unwrap_or(&one.name), &*one.name));
    let model = |(id, by): (&str, &str)| json!({ "id": id, "object": "model", "owned_by": by });
    let all = std::iter::once(("auto", "gateway")).chain(named);
    let data: Vec<_> = all.map(model).collect();
    Json(json!({ "object": "list", "data": data, "has_more": false }))
}

/// What the page shows, again and again until the gateway stops.
async fn events(State(gateway): Gate) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let state = (interval(UPDATE), gateway);
    let events = stream::unfold(state, async |(mut tick, gateway)| {
        let has_ended = tokio::select! {
            () = gateway.closed() => true,
            _ = tick.tick() => false,
        };
        let event = Event::default().data(gateway.snapshot().to_string());
        (!has_ended).then_some((Ok(event), (tick, gateway)))
    });
    Sse::new(events)
}

// ===== impl Gateway =====

impl Gateway {
    /// Rejects the requests that wait and all new ones, and ends the pages.
    pub(crate) fn close(&self) {
        let callers = &self.callers;
        callers.requests.close();
        callers.tokens.close();
        callers.concurrent.close();
        self.providers.all.iter().for_each(|it| it.limiter.close());
        self.is_closed.send_replace(true);
    }

    /// Waits until it is closed.
    pub(crate) async fn closed(&self) {
        let mut is_closed = self.is_closed.subscribe();
        // Fails only if the sender is gone, which lives as long as this.
        let _ = is_closed.wait_for(|is_closed| *is_closed).await;
    }
}

// ===== impl Delivery =====

impl Delivery {
    /// Passes a stream on as it comes, and any other response as a whole.
    async fn pass_on(mut self, mut head: Parts, body: Body) -> Response {
        let content_type = head.headers.get("content-type").map(HeaderValue::as_bytes);
        if content_type.is_some_and(|value| value.starts_with(b"text/event-stream")) {
            // What a stream uses is known too late for the limits: what was reserved counts.
            head.extensions.insert(Used(self.tokens));
            let body = body.into_data_stream();
            let body = body.inspect_ok(move |bytes| self.reader.feed(bytes));
            return Response::from_parts(head, Body::from_stream(body));
        }
        let Ok(body) = to_bytes(body, MOST_BYTES).await else {
            return Kind::UNREACHABLE.response("the response broke off");
        };
        self.reader.read(&body);
        head.extensions.insert(Used(self.used()));
        Response::from_parts(head, Body::from(body))
    }

    /// A cached response has cost nothing.
    fn used(&self) -> u64 {
        let used = self.reader.used().filter(|_| self.tokens > 0);
        used.unwrap_or(self.tokens)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.gateway.counts.spend(&self.caller, self.used());
    }
}
