//! An axum app whose layers report to Prometheus: `cargo run --example server_axum_metrics`.
//!
//! It has a limit for each API key, a limit of requests in flight with a queue, and an upstream that
//! is called again if it fails. `GET /metrics` has what all of them report. The program sends
//! requests to itself, reads that page as Prometheus would, and compares it with what it has counted.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::State,
    http::{Request, Response, StatusCode},
    routing::get,
};
use futures::future::join_all;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use tokio::{net::TcpListener, time::sleep};
use tower::{ServiceBuilder, ServiceExt, service_fn, util::BoxCloneSyncService};
use tower_throttle::{
    BoxError, Circuit, CircuitBreakerLayer, ConcurrencyLayer, Quota, RetryAfterBackoffLayer,
    TokenBucketLayer,
    key::ApiKey,
    metrics::{self, Publish},
};

type Upstream = BoxCloneSyncService<Request<String>, Response<String>, BoxError>;

/// Without these, histograms have quantiles, which several replicas cannot add up.
const SECONDS: [f64; 8] = [0.001, 0.005, 0.025, 0.1, 0.5, 1.0, 5.0, 30.0];

/// Responds with a 503 to every fourth call, and counts the calls.
async fn respond(calls: Arc<AtomicU64>) -> Result<Response<String>, BoxError> {
    let number = calls.fetch_add(1, Ordering::Relaxed);
    sleep(Duration::from_millis(20)).await;
    let status = if number % 4 == 3 { 503 } else { 200 };
    Ok(Response::builder().status(status).body("hello\n".into())?)
}

async fn hello(State(upstream): State<Upstream>) -> Result<String, StatusCode> {
    let response = upstream.oneshot(Request::new(String::new())).await;
    let response = response.map_err(|_| StatusCode::BAD_GATEWAY)?;
    Ok(response.into_body())
}

/// Adds up the samples of a metric that have all of these labels, such as `name="clients"`.
fn sum(page: &str, metric: &str, labels: &[&str]) -> u64 {
    let samples = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, set) = series.split_once('{').unwrap_or((series, ""));
        let has_all = labels.iter().all(|label| set.contains(label));
        (name == metric && has_all).then_some(value)
    });
    // Counts are whole numbers.
    samples.filter_map(|value| value.parse::<u64>().ok()).sum()
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    // Before the services are made: a service finds the recorder when it is made.
    let recorder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &SECONDS)?
        .install_recorder()?;
    metrics::describe();

    let calls = Arc::new(AtomicU64::new(0));
    let (counting, circuit) = (calls.clone(), Circuit::new());
    let upstream = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new().name("upstream"))
        .layer(CircuitBreakerLayer::from(circuit.clone()))
        .service(service_fn(move |_: Request<String>| {
            respond(counting.clone())
        }));
    let clients = TokenBucketLayer::new(Quota::per_hour(60).burst(10))
        .name("clients")
        .per(ApiKey::header("x-api-key"))
        .respond();
    let in_flight = ConcurrencyLayer::new(4)
        .name("app")
        .max_wait(Duration::from_secs(30))
        .respond();

    let limiters = (clients.limiter().clone(), in_flight.limiter().clone());
    let scrape = async move || {
        // What they hold now. Requests have been counted as they came.
        limiters.0.publish("clients");
        limiters.1.publish("app");
        circuit.publish("upstream");
        recorder.render()
    };
    let app = Router::new()
        .route("/", get(hello))
        .layer(in_flight)
        .layer(clients)
        .with_state(Upstream::new(upstream))
        // After the layers, so that no limit applies to it.
        .route("/metrics", get(scrape));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let keys = [["ann"; 20].as_slice(), ["bob"; 5].as_slice()].concat();
    let requests = keys.iter().map(|key| {
        let request = client.get(format!("{url}/")).header("x-api-key", *key);
        async { Ok::<_, BoxError>(request.send().await?.status()) }
    });
    let statuses = join_all(requests).await;
    let statuses = statuses.into_iter().collect::<Result<Vec<_>, _>>()?;
    let served = statuses.iter().filter(|status| **status == 200).count() as u64;
    let rejected = statuses.iter().filter(|status| **status == 429).count() as u64;
    let calls = calls.load(Ordering::Relaxed);
    println!("served {served}, rejected {rejected}, calls of the upstream {calls}");

    let page = client.get(format!("{url}/metrics")).send().await?;
    let page = page.text().await?;
    let is_shown = |line: &&str| line.starts_with("tower_throttle") && !line.contains("_bucket");
    let shown = page.lines().filter(is_shown);
    shown
        .filter(|line| !line.ends_with(" 0"))
        .for_each(|line| println!("{line}"));

    let requests = |labels: &[&str]| sum(&page, "tower_throttle_requests_total", labels);
    assert_eq!((served, rejected), (15, 10));
    assert_eq!(requests(&["name=\"clients\""]), 25);
    let of_clients = ["name=\"clients\"", "outcome=\"rejected\""];
    assert_eq!(requests(&of_clients), rejected);
    assert_eq!(requests(&["name=\"app\""]), served);
    let waited = requests(&["name=\"app\"", "outcome=\"waited\""]);
    let queue = "tower_throttle_queue_seconds_count";
    assert_eq!(sum(&page, queue, &["name=\"app\""]), waited);
    let retries = sum(&page, "tower_throttle_retries_total", &[]);
    assert_eq!(served + retries, calls);
    assert_eq!(sum(&page, "tower_throttle_keys", &["name=\"clients\""]), 2);
    Ok(())
}
