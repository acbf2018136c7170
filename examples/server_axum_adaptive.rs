//! An axum app that finds out by itself how many requests its database can take at once, and sheds
//! the rest: `cargo run --example server_axum_adaptive`.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    routing::get,
};
use tokio::{
    net::TcpListener,
    time::{Instant, interval, sleep},
};
use tower_throttle::{
    ConcurrencyLayer, ConcurrencyLimiter,
    concurrency::{Adaptive, Priority},
};

/// Stands for a database with a limited number of connections and 20 ms for each query. A request
/// that finds no free connection waits for one.
async fn ask(State(connections): State<ConcurrencyLimiter>) -> StatusCode {
    let Ok(_connection) = connections.acquire().await else {
        return StatusCode::INTERNAL_SERVER_ERROR;
    };
    sleep(Duration::from_millis(20)).await;
    StatusCode::OK
}

/// What clients have seen since the last look.
#[derive(Default)]
struct Seen {
    answered: AtomicU64,
    shed: AtomicU64,
    microseconds: AtomicU64,
}

/// Asks again and again, and waits a little where it was shed: for less long than `Retry-After`
/// says, as an overload would.
async fn hammer(client: reqwest::Client, url: String, seen: Arc<Seen>) -> reqwest::Result<()> {
    loop {
        let start = Instant::now();
        if client.get(&url).send().await?.status() == StatusCode::OK {
            let took = start.elapsed().as_micros() as u64;
            seen.microseconds.fetch_add(took, Ordering::Relaxed);
            seen.answered.fetch_add(1, Ordering::Relaxed);
        } else {
            seen.shed.fetch_add(1, Ordering::Relaxed);
            sleep(Duration::from_millis(40)).await;
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = ConcurrencyLayer::adaptive(Adaptive::gradient().min(2).max(100))
        .respond()
        .priority(|request: &Request| match request.uri().path() {
            "/health" => Priority::Critical,
            _ => Priority::Normal,
        });
    let limiter = limits.limiter().clone();
    let connections = ConcurrencyLimiter::new(10);
    let app = Router::new()
        .route("/", get(ask))
        .with_state(connections.clone())
        .route("/health", get(|| async { "ok\n" }))
        .layer(limits);

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let seen = Arc::new(Seen::default());
    for _ in 0..60 {
        let seen = Arc::clone(&seen);
        tokio::spawn(hammer(client.clone(), format!("{url}/"), seen));
    }

    println!("60 clients and a database that takes 20 ms\n");
    println!("connections  limit  answered  shed    latency  health");
    let mut second = interval(Duration::from_secs(1));
    second.tick().await;
    for at_once in [10, 10, 10, 30, 30, 30, 10, 10, 10] {
        connections.set_limit(at_once);
        second.tick().await;
        let health = client.get(format!("{url}/health")).send().await?.status();
        let answered = seen.answered.swap(0, Ordering::Relaxed);
        let shed = seen.shed.swap(0, Ordering::Relaxed);
        let mean = seen.microseconds.swap(0, Ordering::Relaxed) / answered.max(1) / 1_000;
        println!(
            "{at_once:>11}  {:>5}  {answered:>8}  {shed:>6}  {mean:>4} ms   {health}",
            limiter.limit()
        );
    }
    Ok(())
}
