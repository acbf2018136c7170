//! Every layer under a recorder and a subscriber: nothing is reported that the guide does not
//! have, no label depends on a request, and no secret appears.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    fmt,
    future::ready,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_throttle::{
    BoxError, CacheLayer, Circuit, CircuitBreakerLayer, ConcurrencyLayer, FallbackLayer,
    IdempotencyKeyLayer, Quota, Redis, RetryAfterBackoffLayer, RouterLayer, StreamErrorLayer,
    TimeoutLayer, TokenBucketLayer, TokenUsage, Tokens,
    concurrency::Adaptive,
    key,
    provider::{Accounting, Provider, ProviderLayer, ProviderLimiter},
    retry::Budget,
    router::Target,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{layer::SubscriberExt, registry::LookupSpan};

use super::{
    recorder::{Recorder, Scrape, publish},
    table::{event_rows, metric_rows},
};
use crate::support::subscribe;

type Req = Request<String>;
type Res = Response<Full<Bytes>>;
type Server = BoxCloneSyncService<Req, Res, BoxError>;

const SECRETS: [&str; 4] = ["hunter", "sk-secret", "my-prompt", "api.test"];

/// Needs streamed bodies, slow readers, a server of Redis, or fewer features.
const NOT_RUN: [&str; 6] = [
    "removing readers that are too slow",
    "request body is too large to be replayed",
    "sending a recorded body again",
    "request body can't be peeked: using the default input",
    "connection errors are not classified, and not retried, without a feature of tower-throttle",
    "reachable again",
];

// ===== events =====

#[derive(Debug, Clone, Default)]
struct Events(Arc<Mutex<Vec<Seen>>>);

#[derive(Debug, Default)]
struct Seen {
    target: String,
    message: String,
    level: String,
    fields: BTreeMap<String, String>,
    span: Option<&'static str>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, context: tracing_subscriber::layer::Context<'_, S>) {
        let metadata = event.metadata();
        if !metadata.target().starts_with("tower_throttle") {
            return;
        }
        let mut seen = Seen {
            target: metadata.target().to_owned(),
            level: metadata.level().to_string().to_lowercase(),
            span: context.event_span(event).map(|span| span.name()),
            ..Seen::default()
        };
        event.record(&mut seen);
        self.0.lock().unwrap().push(seen);
    }
}

impl Visit for Seen {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let value = format!("{value:?}");
        match field.name() {
            "message" => self.message = value,
            name => drop(self.fields.insert(name.to_owned(), value)),
        }
    }
}

// ===== services =====

/// A request whose URL, headers and body have secrets, which differ by `number`.
fn request(number: usize) -> Req {
    let uri =
        format!("https://me:hunter{number}@{number}.api.test/v1/chat/completions?key=sk-secret");
    Request::post(uri)
        .header("authorization", format!("Bearer sk-secret-{number}"))
        .header("x-api-key", format!("sk-secret-{number}"))
        .body(format!(
            r#"{{"model":"a","messages":["my-prompt-{number}"]}}"#
        ))
        .unwrap()
}

fn response(status: u16, headers: &[(&'static str, &str)], body: &'static str) -> Res {
    let mut response = Response::builder()
        .status(status)
        .header("x-secret", "sk-secret");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.into())).unwrap()
}

fn status(status: u16) -> Res {
    response(status, &[], "{}")
}

/// Responds with one after the other, and again with the last one.
fn server<const N: usize>(responses: [Res; N]) -> Server {
    let (calls, responses) = (AtomicUsize::new(0), Arc::new(responses));
    let calls = Arc::new(calls);
    BoxCloneSyncService::new(service_fn(move |_: Req| {
        let number = calls.fetch_add(1, Ordering::Relaxed).min(N - 1);
        let response = responses[number].clone();
        async move {
            sleep(Duration::from_millis(10)).await;
            Ok(response)
        }
    }))
}

/// Sends a request, and reads the response to its end.
async fn send<S, B>(service: &S, number: usize) -> Result<Response<Bytes>, BoxError>
where
    S: Service<Req, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: http_body::Body<Error: Into<BoxError>>,
{
    let response = service
        .clone()
        .oneshot(request(number))
        .await
        .map_err(Into::into)?;
    let (parts, body) = response.into_parts();
    let body = body.collect().await.map_err(Into::into)?.to_bytes();
    Ok(Response::from_parts(parts, body))
}

async fn limits(number: usize) {
    let ok = || server([status(200)]);
    let layer = TokenBucketLayer::new(Quota::per_second(1))
        .name("rate")
        .max_waiting(2);
    let service = layer.layer(ok());
    let soon = Duration::from_millis(100);
    let _ = tokio::join!(
        send(&service, number),
        timeout(soon, send(&service, number)),
        send(&service, number),
        send(&service, number),
    );
    let layer = ConcurrencyLayer::adaptive(Adaptive::gradient().initial(5)).name("adaptive");
    layer.limiter().set_limit(3);
    send(&layer.layer(ok()), number).await.unwrap();
    let quota = Quota::per_hour(1);
    let by_header = key::Header::new("x-api-key");
    let layer = TokenBucketLayer::new(quota)
        .name("client")
        .per(by_header)
        .shadow();
    let service = layer.layer(ok());
    for _ in 0..2 {
        send(&service, number).await.unwrap();
    }
    let service = TokenBucketLayer::new(quota)
        .name("peer")
        .per(key::PeerIp)
        .layer(ok());
    assert!(send(&service, number).await.is_err());
    publish("rate", TokenBucketLayer::new(quota).limiter());
    publish("client", layer.limiter());
    publish("adaptive", ConcurrencyLayer::new(1).limiter());
}

async fn retry_and_fallback(number: usize) {
    let layer = RetryAfterBackoffLayer::new()
        .name("retry")
        .retry_non_idempotent();
    let hint = response(429, &[("retry-after", "1")], "{}");
    let service = layer.layer(server([hint, status(503), status(200)]));
    assert_eq!(send(&service, number).await.unwrap().status(), 200);
    let budget = Budget::new(0, Quota::per_second(0));
    let layer = layer.budget(budget.clone());
    send(&layer.layer(server([status(503)])), number)
        .await
        .unwrap();
    publish("retry", &budget);

    let layer = FallbackLayer::value(status(200)).named("small");
    send(&layer.layer(server([status(500)])), number)
        .await
        .unwrap();
}

async fn circuit_and_timeout(number: usize) {
    let circuit = Circuit::new().failures(1);
    let layer = CircuitBreakerLayer::from(circuit.clone());
    let service = layer.layer(server([status(500), status(200)]));
    send(&service, number).await.unwrap();
    assert!(send(&service, number).await.is_err());
    sleep(Duration::from_secs(2)).await;
    send(&service, number).await.unwrap();
    publish("circuit", &circuit);

    let layer = TimeoutLayer::new().attempt(Duration::from_millis(1));
    assert!(
        send(&layer.layer(server([status(200)])), number)
            .await
            .is_err()
    );
    let layer = IdempotencyKeyLayer::new();
    send(&layer.layer(server([status(200)])), number)
        .await
        .unwrap();
}

async fn cache(number: usize) {
    let layer = CacheLayer::new(|_| true);
    let service = layer.layer(server([status(200)]));
    let _ = tokio::join!(send(&service, number), send(&service, number));
    send(&service, number).await.unwrap();
    publish("cache", &layer);
    let layer = StreamErrorLayer::new();
    let body = "data: {\"error\":{\"type\":\"overloaded_error\",\"message\":\"my-prompt\"}}\n\n";
    let stream = response(200, &[("content-type", "text/event-stream")], body);
    send(&layer.layer(server([stream])), number).await.unwrap();
}

const USAGE: &str = r#"{"usage":{"prompt_tokens":30,"completion_tokens":12,"total_tokens":42}}"#;

async fn provider_and_router(number: usize) {
    let provider = Provider::new("mine")
        .rpm(60)
        .tpm(100_000)
        .counting(Accounting::SETTLED);
    let layer = ProviderLayer::new(provider).name("provider");
    let json = ("content-type", "application/json");
    let limit = ("x-ratelimit-limit-requests", "30");
    let remaining = ("x-ratelimit-remaining-requests", "29");
    let reset = ("x-ratelimit-reset-requests", "2s");
    let service = layer.layer(server([
        response(200, &[json, limit, remaining, reset], USAGE),
        response(200, &[("content-encoding", "br")], "my-prompt"),
        response(
            429,
            &[json, ("retry-after", "1")],
            r#"{"error":{"message":"my-prompt"}}"#,
        ),
    ]));
    for _ in 0..3 {
        send(&service, number).await.unwrap();
    }
    publish("provider", layer.limiter());

    let limiter = || ProviderLimiter::new(Provider::new("small").rpm(1));
    let router = || {
        let target = |name| Target::new(name, limiter());
        RouterLayer::<Req>::ranked()
            .target(target("first"))
            .target(target("second"))
    };
    let service = router().layer(server([status(503), status(200)]));
    for _ in 0..2 {
        send(&service, number).await.unwrap();
    }
    let none = RouterLayer::<Req>::ranked().layer(server([status(200)]));
    assert!(send(&none, number).await.is_err());
}

/// A limit in a store that nobody can reach.
async fn store(number: usize) {
    // A connection needs real time.
    tokio::time::resume();
    let redis = Redis::new("redis://me:hunter2@127.0.0.1:1").unwrap();
    let layer = TokenBucketLayer::new(Quota::per_second(10))
        .name("shared")
        .shared(&redis, "api.test");
    let service = layer.layer(server([status(200)]));
    send(&service, number).await.unwrap();
    // The request has asked for units, and the process has registered.
    let has_failed_twice = async {
        while redis.status().errors < 2 {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(30), has_failed_twice)
        .await
        .unwrap();
    publish("redis", &redis);
    tokio::time::pause();
}

/// Runs all, and returns the series with their labels.
async fn every_layer(number: usize) -> (Scrape, Vec<Seen>) {
    let recorder = Recorder::new();
    let events = Events::default();
    let subscriber = tracing_subscriber::registry().with(events.clone());
    {
        let _recorder = recorder.set_default();
        let _subscriber = subscribe(subscriber);
        limits(number).await;
        retry_and_fallback(number).await;
        circuit_and_timeout(number).await;
        cache(number).await;
        provider_and_router(number).await;
        store(number).await;
    }
    let events = std::mem::take(&mut *events.0.lock().unwrap());
    (recorder.scrape(), events)
}

fn series(scrape: &Scrape) -> BTreeSet<(String, BTreeMap<String, String>)> {
    let samples = scrape.samples.iter();
    samples
        .map(|sample| (sample.name.clone(), sample.labels.clone()))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_guide_has_all_that_is_reported() {
    let (scrape, events) = every_layer(1).await;
    for secret in SECRETS {
        assert!(!scrape.text.contains(secret), "{}", scrape.text);
    }

    let (rows, mut seen) = (metric_rows(), BTreeSet::new());
    for sample in &scrape.samples {
        let name = sample
            .name
            .trim_end_matches("_sum")
            .trim_end_matches("_count");
        let row = rows.get(name).unwrap_or_else(|| panic!("{name}"));
        let mut labels = sample.labels.keys().filter(|label| *label != "quantile");
        assert!(labels.all(|label| row.labels.contains(label)), "{sample:?}");
        let kind = if row.kind == "histogram" {
            "summary"
        } else {
            &row.kind
        };
        assert_eq!(scrape.types[name], kind);
        seen.insert(name);
    }
    let documented: BTreeSet<_> = rows.keys().map(String::as_str).collect();
    assert_eq!(seen, documented);

    let (rows, mut seen) = (event_rows(), BTreeSet::new());
    for event in &events {
        let id = (event.target.clone(), event.message.clone());
        let row = rows.get(&id).unwrap_or_else(|| panic!("{event:?}"));
        assert_eq!(row.level, event.level, "{event:?}");
        assert!(
            event.fields.keys().all(|field| row.fields.contains(field)),
            "{event:?}"
        );
        let is_secret = |value: &String| SECRETS.iter().any(|secret| value.contains(secret));
        assert!(!event.fields.values().any(is_secret), "{event:?}");
        seen.insert(id);
    }
    let missing = rows
        .into_keys()
        .filter(|id| !seen.contains(id) && !NOT_RUN.contains(&&*id.1));
    assert_eq!(missing.collect::<Vec<_>>(), []);
}

#[tokio::test(start_paused = true)]
async fn no_label_depends_on_a_request() {
    let (one, _) = every_layer(1).await;
    let (other, _) = every_layer(2).await;
    assert_eq!(series(&one), series(&other));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_woken_keeps_its_span() {
    let events = Events::default();
    let subscriber = tracing_subscriber::registry().with(events.clone());
    let _subscriber = subscribe(subscriber);
    let inner = service_fn(|()| {
        tracing::debug!(target: "tower_throttle::test", "called");
        ready(Ok::<_, Infallible>(()))
    });
    let layer = TokenBucketLayer::new(Quota::per_second(1)).max_wait(Duration::from_secs(1));
    let mut service = layer.layer(inner);
    let span = tracing::debug_span!("caller");
    let futures = span.in_scope(|| [(); 3].map(|()| service.call(())));
    // Not in the span.
    let [first, second, third] = futures;
    first.await.unwrap();
    second.await.unwrap();
    assert!(third.await.is_err());
    let seen = events.0.lock().unwrap();
    let messages: Vec<_> = seen
        .iter()
        .map(|event| (&*event.message, event.span))
        .collect();
    let caller = Some("caller");
    let expected = [
        ("called", caller),
        ("waiting", caller),
        ("rejected", caller),
        ("admitted", caller),
        ("called", caller),
    ];
    assert_eq!(messages, expected);
}

/// Serves some tokens, and counts them.
#[tokio::test(start_paused = true)]
async fn tokens_agree_with_what_a_server_counted() {
    let limiter = ProviderLimiter::new(
        Provider::new("mine")
            .rpm(1_000)
            .tpm(1_000_000)
            .counting(Accounting::SETTLED),
    );
    let (mut served, mut reserved) = (0, 0);
    for n in 0..500 {
        let tokens = Tokens::new(n % 90, 100);
        let reservation = limiter.acquire(tokens).await.unwrap();
        reserved += tokens.total();
        match n % 5 {
            0 => reservation.refund(),
            1 => {
                served += tokens.total();
                drop(reservation);
            }
            _ => {
                let usage = TokenUsage {
                    input: n % 90,
                    output: n % 77,
                    ..TokenUsage::default()
                };
                served += usage.total();
                reservation.settle(usage);
            }
        }
    }
    let recorder = Recorder::new();
    recorder.publish("tokens", &limiter);
    let scrape = recorder.scrape();
    let tokens = |what| {
        let name = format!("tower_throttle_tokens_{what}_total");
        scrape.sum(&name, &[("name", "tokens")]) as u64
    };
    assert_eq!((tokens("reserved"), tokens("used")), (reserved, served));
    assert_eq!(tokens("returned"), reserved - served);
    assert_eq!(
        scrape.sum("tower_throttle_in_flight", &[("name", "tokens")]),
        0.0
    );
}
