//! `reqwest::Client` with limits around it, against a server that says when to come back:
//! `cargo run --example client_reqwest`.

use std::sync::atomic::{AtomicBool, Ordering};

use axum::{Router, http::StatusCode, routing::get};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_throttle::{
    ConcurrencyLayer, Quota, RetryAfterBackoffLayer, SlidingWindowLayer, retry::Attempts,
};

/// Refuses the first request.
async fn answer() -> (StatusCode, [(&'static str, &'static str); 1], &'static str) {
    static SEEN: AtomicBool = AtomicBool::new(false);
    if SEEN.swap(true, Ordering::Relaxed) {
        (StatusCode::OK, [("x-request-id", "2")], "an answer")
    } else {
        (
            StatusCode::TOO_MANY_REQUESTS,
            [("retry-after", "1")],
            "slow down",
        )
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let app = Router::new().route("/", get(answer));
    tokio::spawn(async { axum::serve(listener, app).await });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let reqwest = reqwest::Client::builder().no_proxy().build()?;
    let mut client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(ConcurrencyLayer::new(50))
        .layer(SlidingWindowLayer::new(Quota::per_minute(500)))
        .service(reqwest.clone());

    let start = Instant::now();
    for number in 1..=2 {
        let request = reqwest.get(&url).build()?;
        let response = client.ready().await?.call(request).await?;
        let attempts = Attempts::of(&response);
        println!(
            "{:.1} s, request {number}: {} after {} attempts: {}",
            start.elapsed().as_secs_f32(),
            response.status(),
            attempts.attempts(),
            response.text().await?
        );
    }
    Ok(())
}
