//! An axum app with a limit for all of it and a smaller one for a route:
//! `cargo run --example server_axum`.

use axum::{Router, routing::get};
use tower_throttle::{ConcurrencyLayer, Quota, TokenBucketLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let report = get(|| async { "a report\n" })
        // Rejects with 503 at once: no request waits.
        .layer(ConcurrencyLayer::new(2).respond());
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/report", report)
        // Rejects with 429 and a `Retry-After`.
        .layer(TokenBucketLayer::new(Quota::per_minute(10)).respond());

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = reqwest::Client::builder().no_proxy().build()?;
    for number in 1..=12 {
        let response = client.get(&url).send().await?;
        let retry_after = response.headers().get("retry-after");
        let retry_after = retry_after.map(|seconds| format!(", Retry-After: {seconds:?}"));
        println!(
            "request {number:>2}: {}{}",
            response.status(),
            retry_after.unwrap_or_default()
        );
    }
    Ok(())
}
