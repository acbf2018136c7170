//! An axum app with a limit for each API key, by its plan: `cargo run --example server_axum_per_key`.

use axum::{
    Router,
    extract::Request,
    http::StatusCode,
    middleware::{Next, from_fn},
    response::{IntoResponse, Response},
    routing::get,
};
use tower_throttle::{Quota, TokenBucketLayer, key, rejection::Problem};

/// What a client has paid for.
#[derive(Clone)]
struct Plan(Quota);

/// Knows the keys, as a database would. Otherwise any key that a client makes up would be a new one.
async fn authenticate(mut request: Request, next: Next) -> Response {
    let key = request.headers().get("x-api-key");
    let plan = match key.map(|key| key.as_bytes()) {
        Some(b"bob") => Quota::per_minute(600).burst(6),
        Some(b"ann") => Quota::per_minute(60).burst(3),
        Some(_) => return StatusCode::UNAUTHORIZED.into_response(),
        None => return next.run(request).await,
    };
    request.extensions_mut().insert(Plan(plan));
    next.run(request).await
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let limits = TokenBucketLayer::new(Quota::per_minute(60))
        .per(key::ApiKey::header("x-api-key"))
        .cost(|request: &Request| {
            if request.uri().path() == "/report" {
                3
            } else {
                1
            }
        })
        .limits_for(|request| {
            let plan: Option<&Plan> = request.extensions().and_then(|all| all.get());
            plan.map_or(Quota::per_minute(1), |plan| plan.0)
        })
        .exempt(|request| request.path() == "/health")
        .respond_as(Problem)
        .on_rejected(|rejected| println!("    {:?}: {}", rejected.key, rejected.rejected));
    let limiter = limits.limiter().clone();
    let app = Router::new()
        .route("/", get(|| async { "hello\n" }))
        .route("/report", get(|| async { "a report\n" }))
        .route("/health", get(|| async { "ok\n" }))
        .layer(limits)
        .layer(from_fn(authenticate));

    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = reqwest::Client::builder().no_proxy().build()?;
    for (key, path) in [
        (Some("ann"), "/"),
        (Some("ann"), "/report"),
        (Some("ann"), "/health"),
        (Some("bob"), "/report"),
        (Some("bob"), "/report"),
        (Some("bob"), "/"),
        (Some("eve"), "/"),
        (None, "/"),
    ] {
        let mut request = client.get(format!("{url}{path}"));
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let response = request.send().await?;
        let left = response.headers().get("ratelimit");
        let left = left.map(|left| format!(", RateLimit: {left:?}"));
        println!(
            "{:>6} {path:<8} {}{}",
            key.unwrap_or("-"),
            response.status(),
            left.unwrap_or_default()
        );
    }
    for usage in limiter.top(2) {
        println!("{} has used {}", usage.key, usage.used);
    }
    Ok(())
}
