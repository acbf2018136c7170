//! A server of plain hyper behind a limit: `cargo run --example server_hyper`.

use std::convert::Infallible;

use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1};
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::net::TcpListener;
use tower::{ServiceBuilder, service_fn};
use tower_throttle::{Quota, SlidingWindowLayer};

async fn hello(_: Request<Incoming>) -> Result<Response<Full<&'static [u8]>>, Infallible> {
    Ok(Response::new(Full::new(b"hello\n")))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let service = ServiceBuilder::new()
        .layer(SlidingWindowLayer::new(Quota::per_second(3)).respond())
        .service(service_fn(hello));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Every connection has a clone, and all of them share the limit.
            let service = TowerToHyperService::new(service.clone());
            tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    for number in 1..=5 {
        // A new client, and so a new connection, each time.
        let client = reqwest::Client::builder().no_proxy().build()?;
        println!(
            "connection {number}: {}",
            client.get(&url).send().await?.status()
        );
    }
    Ok(())
}
