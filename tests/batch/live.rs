//! Against a simulated provider on loopback, so on real time.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use reqwest::Client;
use serde_json::json;
use tokio::{task::JoinSet, time::Instant};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_throttle::{
    RetryAfterBackoffLayer,
    provider::{Accounting, Provider, ProviderLayer, ProviderLimiter, include_usage},
};

use crate::{
    simulator::provider::{Kind, Limits, Simulator},
    support::ms,
};

const WINDOW: std::time::Duration = ms(500);

fn client() -> Client {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    Client::builder().no_proxy().build().unwrap()
}

/// Asks as fast as it is let, until told to stop.
fn ask_on(
    simulator: &Simulator,
    limiter: &ProviderLimiter,
    workers: usize,
) -> (JoinSet<()>, Arc<AtomicUsize>) {
    let client = client();
    let service = ServiceBuilder::new()
        .layer(
            RetryAfterBackoffLayer::new()
                .retry_non_idempotent()
                .no_budget(),
        )
        .layer(ProviderLayer::from(limiter.clone()))
        .service(client.clone());
    let (answered, mut tasks) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for _ in 0..workers {
        let url = format!("{}/chat/completions", simulator.url());
        let (client, mut service) = (client.clone(), service.clone());
        let answered = answered.clone();
        tasks.spawn(async move {
            loop {
                let body = json!({
                    "model": "m",
                    "messages": [{ "role": "user", "content": "hello, 4 tokens!" }],
                    "max_tokens": 6,
                });
                let request = client.post(&url).json(&body).build().unwrap();
                let response = service.ready().await.unwrap().call(request).await.unwrap();
                assert!(response.status().is_success(), "{}", response.status());
                response.bytes().await.unwrap();
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    (tasks, answered)
}

async fn until(limiter: &ProviderLimiter, limit: u64) -> std::time::Duration {
    let start = Instant::now();
    while limiter.usage().limits().next().unwrap().limit != limit {
        assert!(start.elapsed() < 10 * WINDOW, "{:?}", limiter.usage());
        tokio::time::sleep(ms(5)).await;
    }
    start.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_that_is_halved_and_doubled_is_found_within_two_windows() {
    for kind in [Kind::Window, Kind::Bucket] {
        let simulator = Simulator::start(Limits {
            requests: Some(100),
            window: WINDOW,
            latency: ms(10),
            kind,
            ..Limits::default()
        })
        .await
        .unwrap();
        let limiter = ProviderLimiter::new(Provider::new("unknown").with_minute(WINDOW));
        let (tasks, answered) = ask_on(&simulator, &limiter, 32);
        while limiter.usage().limits().next().is_none() {
            tokio::time::sleep(ms(5)).await;
        }
        assert_eq!(limiter.usage().limits().next().unwrap().limit, 100);
        tokio::time::sleep(WINDOW).await;
        for (per_mille, limit) in [(500, 50), (1_000, 100), (2_000, 200)] {
            simulator.scale(per_mille);
            let found = until(&limiter, limit).await;
            // The bound is two windows; the rest is for a machine that is busy.
            assert!(found < 3 * WINDOW, "{limit}: {found:?}");
            tokio::time::sleep(2 * WINDOW).await;
        }
        drop(tasks);
        assert!(answered.load(Ordering::Relaxed) > 200);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reqwest_response_stays_itself_and_settles() {
    let simulator = Simulator::start(Limits::default()).await.unwrap();
    let provider = Provider::new("p").tpm(1_000);
    let limiter = ProviderLimiter::new(provider.counting(Accounting::SETTLED));
    let client = client();
    let url = format!("{}/chat/completions", simulator.url());
    let body = json!({
        "model": "m",
        "messages": [{ "role": "user", "content": "hello, 4 tokens!" }],
        "max_tokens": 600,
        "stream": true,
    });
    let request = client.post(&url).json(&body).build().unwrap();
    let service = ServiceBuilder::new()
        .map_request(include_usage::<reqwest::Request>)
        .layer(ProviderLayer::from(limiter.clone()))
        .service(client);
    let response = service.oneshot(request).await.unwrap();
    assert_eq!(response.url().as_str(), url);
    assert_eq!(limiter.usage().limits().next().unwrap().used, 604);
    let text = response.text().await.unwrap();
    assert!(text.ends_with("data: [DONE]\n\n"));
    // 4 for the prompt, and an answer of 12.
    assert_eq!(limiter.usage().limits().next().unwrap().used, 16);
    assert_eq!(limiter.usage().in_flight, 0);
}
