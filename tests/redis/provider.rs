//! Four processes that share the limits of a simulated provider over loopback.

use std::time::Duration;

use reqwest::{Client, Request, Response};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{
    Redis,
    provider::{Accounting, Provider, ProviderLayer},
};

use crate::{
    fleet::{Starts, laps},
    processes::{in_child, now, spawn, starts},
    server::Server,
    simulator::{Counting, Kind, Limits, Simulator, Style, UsageShare},
};

const TIME: Duration = Duration::from_secs(30);
const WINDOW: Duration = Duration::from_secs(14);
/// What requests may arrive late by on a busy machine.
const MARGIN: Duration = Duration::from_millis(60);
/// How long a call may take on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(1);
const BODY: &str = r#"{"model": "m", "max_tokens": 96, "messages": [
    {"role": "user", "content": "hello, 4 tokens!"}]}"#;

/// What a child knows of the provider: `kind`.
fn provider(kind: &str) -> Provider {
    let provider = Provider::new("simulated")
        .margin(MARGIN)
        .with_minute(WINDOW);
    match kind {
        "window" => provider.rpm(500).tpm(1_000_000),
        "bucket" => provider.bucket().tpm(50_000).counting(Accounting::SETTLED),
        _ => unreachable!("{kind}"),
    }
}

/// Runs in a child: `redis simulator kind`.
#[test]
fn child() {
    in_child(async |parts, log| {
        let url = format!("{}/chat/completions", parts[1]);
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let redis = Redis::connect(parts[0]).await.unwrap().timeout(TIMEOUT);
        let client = Client::builder().no_proxy().build().unwrap();
        let layer = ProviderLayer::new(provider(parts[2])).shared(&redis, "provider");
        let service = layer.layer(service_fn(move |request: Request| {
            log.lock().unwrap().push((now(), 1));
            client.execute(request)
        }));
        for worker in 0..32 {
            let (service, url) = (service.clone(), url.clone());
            tokio::spawn(async move {
                // Connections that are opened at once delay each other.
                tokio::time::sleep(Duration::from_millis(2) * worker).await;
                loop {
                    let mut request = Request::new(http::Method::POST, url.parse().unwrap());
                    *request.body_mut() = Some(BODY.into());
                    let response: Response = service.clone().oneshot(request).await.unwrap();
                    let _text = response.text().await.unwrap();
                }
            });
        }
        tokio::time::sleep(TIME).await;
        println!("# {}; {:?}", redis.status(), layer.limiter().usage());
    });
}

/// Runs four processes, and returns what they started, the tokens that were used, and the part that
/// was rejected.
fn run(kind: &str, limits: Limits) -> (Starts, u64, f64) {
    let server = Server::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let simulator = runtime.block_on(Simulator::start(limits)).unwrap();
    let role = || format!("{} {} {kind}", server.url(), simulator.url());
    let children = [(); 4].map(|()| spawn("provider::child", role()));
    let mut all = children.map(starts).concat();
    all.sort_unstable();
    let counters = simulator.counters();
    let rejected = counters.refused as f64 / (counters.accepted + counters.refused) as f64;
    println!("{kind}: {counters:?}");
    (all, counters.used_tokens, rejected)
}

/// On a quiet machine 0.98 are used and none is rejected. Here processes and the simulator may be
/// late.
fn check(used: f64, rejected: f64) {
    assert!(rejected <= 0.005, "{rejected}");
    assert!(used >= 0.95, "{used}");
}

fn limits() -> Limits {
    Limits {
        window: WINDOW,
        latency: Duration::from_millis(50),
        longest_latency: Duration::from_millis(500),
        ..Limits::default()
    }
}

#[test]
fn a_window_of_four_processes_is_used() {
    let limits = Limits {
        requests: Some(500),
        tokens: Some(1_000_000),
        ..limits()
    };
    let (starts, _, rejected) = run("window", limits);
    let used = 1.0 / laps(&starts, 500, WINDOW).1;
    println!("used {used:.4}, 429 {rejected:.5}");
    check(used, rejected);
}

#[test]
fn a_bucket_of_four_processes_is_settled() {
    let limits = Limits {
        tokens: Some(50_000),
        kind: Kind::Bucket,
        style: Style {
            counting: Counting::Settled,
            ..Style::OPENAI
        },
        usage: UsageShare::Drawn {
            from: 300,
            to: 1_000,
            seed: 7,
        },
        ..limits()
    };
    let (starts, tokens, rejected) = run("bucket", limits);
    let nanos = starts[starts.len() - 1].0 - starts[0].0;
    // Those of responses that have not ended are missing.
    let allowed = 50_000.0 * (1.0 + nanos as f64 / WINDOW.as_nanos() as f64);
    let used = tokens as f64 / allowed;
    println!("used {used:.4}, 429 {rejected:.5}");
    check(used, rejected);
}
