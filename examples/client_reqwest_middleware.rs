//! The same layers in a client of `reqwest-middleware`:
//! `cargo run --example client_reqwest_middleware`.

use std::time::Duration;

use axum::{Router, routing::get};
use futures::future::join_all;
use reqwest_middleware::ClientBuilder;
use tower::ServiceBuilder;
use tower_throttle::{
    ConcurrencyLayer, LayerMiddleware, Quota, Rejected, RetryAfterBackoffLayer, TokenBucketLayer,
};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let app = Router::new().route("/", get(|| async { "an answer" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });

    let layers = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(ConcurrencyLayer::new(50))
        .layer(
            TokenBucketLayer::new(Quota::per_second(2).burst(1)).max_wait(Duration::from_secs(1)),
        );
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = ClientBuilder::new(reqwest::Client::builder().no_proxy().build()?)
        .with(LayerMiddleware::new(layers))
        .build();

    // All at once, at 2 a second: the fourth would have to wait longer than it may.
    let requests = (0..4).map(|_| client.get(&url).send());
    for (number, result) in join_all(requests).await.into_iter().enumerate() {
        match result {
            Ok(response) => println!("request {number}: {}", response.status()),
            Err(reqwest_middleware::Error::Middleware(error)) if error.is::<Rejected>() => {
                println!("request {number}: {error}");
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
