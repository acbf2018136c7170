//! The client of hyper-util with limits around it: `cargo run --example client_hyper`.

use std::time::Duration;

use axum::{Router, routing::get};
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::time::Instant;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_throttle::{ConcurrencyLayer, Quota, RetryAfterBackoffLayer, TokenBucketLayer};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let app = Router::new().route("/", get(|| async { "an answer" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });

    let hyper = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let mut client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(ConcurrencyLayer::new(4))
        .layer(TokenBucketLayer::new(
            Quota::new(5, Duration::from_secs(1)).burst(2),
        ))
        .service(hyper);

    let start = Instant::now();
    for number in 1..=6 {
        let request = Request::get(&url).body(Empty::new())?;
        let response = client.ready().await?.call(request).await?;
        let status = response.status();
        // The slot of the concurrency limit is free again at the end of the body.
        let body = response.into_body().collect().await?.to_bytes();
        println!(
            "{:.1} s, request {number}: {status}, {} bytes",
            start.elapsed().as_secs_f32(),
            body.len()
        );
    }
    Ok(())
}
