//! A crawler that is polite to each host, with `reqwest-middleware`:
//! `cargo run --example client_crawler`.
//!
//! Each host has a limit of its own, so a slow limit of one host delays no other, and the memory is
//! bounded however many hosts there are.

use std::time::Duration;

use axum::{Router, extract::Path, routing::get};
use futures::{StreamExt, stream};
use reqwest_middleware::ClientBuilder;
use tokio::{net::TcpListener, time::Instant};
use tower::ServiceBuilder;
use tower_throttle::{
    BoxError, ConcurrencyLayer, LayerMiddleware, Quota, RetryAfterBackoffLayer, TokenBucketLayer,
    key::ClientKey,
};

const HOSTS: u16 = 3;
const PAGES: u32 = 6;

/// Starts a host with some pages, and returns its URL. Here a host is a port.
async fn host() -> Result<String, BoxError> {
    let page = async |Path(page): Path<u32>| format!("page {page}");
    let app = Router::new().route("/{page}", get(page));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(async { axum::serve(listener, app).await });
    Ok(url)
}

/// Returns the key of a request: its host and port.
fn host_of(request: &reqwest::Request) -> Option<ClientKey> {
    let url = request.url();
    let host = url.host_str()?;
    Some(ClientKey::name(format!(
        "{host}:{}",
        url.port_or_known_default()?
    )))
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut urls = Vec::new();
    for _ in 0..HOSTS {
        let host = host().await?;
        urls.extend((1..=PAGES).map(|page| format!("{host}/{page}")));
    }

    // Two requests a second to each host, one at a time, and ten at a time in all.
    let per_host = TokenBucketLayer::new(Quota::per_second(2).burst(1))
        .per(host_of)
        .max_wait(Duration::MAX);
    let one_at_a_time = ConcurrencyLayer::new(1)
        .per(host_of)
        .max_wait(Duration::MAX);
    let layers = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(one_at_a_time)
        .layer(per_host)
        .layer(ConcurrencyLayer::new(10));
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = ClientBuilder::new(reqwest::Client::builder().no_proxy().build()?)
        .with(LayerMiddleware::new(layers))
        .build();

    let start = Instant::now();
    let fetch = async |url: String| -> Result<(), reqwest_middleware::Error> {
        let body = client.get(&url).send().await?.text().await?;
        println!("{:.1} s  {url}  {body}", start.elapsed().as_secs_f32());
        Ok(())
    };
    // As many wait as there are pages: a page of a host that is busy holds up no other.
    let mut fetched = stream::iter(urls).map(fetch).buffer_unordered(100);
    while let Some(result) = fetched.next().await {
        result?;
    }

    // The first of six pages starts at once, and each other half a second after the one before.
    let elapsed = start.elapsed();
    println!(
        "{} pages in {:.1} s",
        u32::from(HOSTS) * PAGES,
        elapsed.as_secs_f32()
    );
    assert!(elapsed >= Duration::from_millis(2_400));
    Ok(())
}
