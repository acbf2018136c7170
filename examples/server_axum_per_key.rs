//! An axum app with a limit for each API key, by its plan: `cargo run --example server_axum_per_key`.

use axum::{Router, extract::Request, routing::get};
use tower_throttle::{Quota, TokenBucketLayer, key, per_key::MissingKey};

/// What a key has paid for. Where this is looked up in a database, a layer further out does it, and puts the plan into the
/// request's extensions.
fn plan(request: &Request) -> Quota {
    match request.headers().get("x-api-key").map(|key| key.as_bytes()) {
        Some(key) if key.starts_with(b"pro-") => Quota::per_minute(600).burst(6),
        _ => Quota::per_minute(60).burst(3),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = TokenBucketLayer::new(Quota::per_minute(60))
        .per(key::ApiKey::header("x-api-key"))
        .missing_key(MissingKey::Refuse)
        .cost(|request: &Request| {
            if request.uri().path() == "/report" {
                3
            } else {
                1
            }
        })
        .quota(plan)
        .exempt(|request: &Request| request.uri().path() == "/health")
        .on_refused(|refused| println!("    refused: {:?}, {}", refused.caller, refused.rejected))
        .problem_json();
    let limiter = limits.limiter().clone();
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/report", get(|| async { "a report\n" }))
        .route("/health", get(|| async { "ok\n" }))
        .layer(limits);

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = reqwest::Client::builder().no_proxy().build()?;
    for (key, path) in [
        ("free-ann", "/"),
        ("free-ann", "/report"),
        ("free-ann", "/health"),
        ("pro-bob", "/report"),
        ("pro-bob", "/report"),
        ("pro-bob", "/"),
        ("", "/"),
    ] {
        let request = client.get(format!("{url}{path}")).header("x-api-key", key);
        let response = request.send().await?;
        let left = response
            .headers()
            .get("ratelimit")
            .map(|left| format!(", RateLimit: {left:?}"));
        println!(
            "{key:>8} {path:<8} {}{}",
            response.status(),
            left.unwrap_or_default()
        );
    }
    for usage in limiter.top(2) {
        println!("{} has used {}", usage.caller, usage.used);
    }
    Ok(())
}
