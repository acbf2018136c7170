//! A tonic server with a limit for each API key, and a client that waits for as long as `RetryInfo`
//! says: `cargo run --example server_tonic`.

use std::time::Duration;

use tokio::net::TcpListener;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;
use tower_throttle::{Quota, TokenBucketLayer, key, rejection::Grpc};

type Key = MetadataValue<Ascii>;

/// Calls the health check, retries after each `RetryInfo`, and returns the sum of all waits.
async fn ask(client: &mut HealthClient<Channel>, key: &Key) -> Result<Duration, Status> {
    let mut waited = Duration::ZERO;
    loop {
        let mut request = Request::new(HealthCheckRequest::default());
        request.metadata_mut().insert("x-api-key", key.clone());
        let status = match client.check(request).await {
            Ok(response) => {
                let left = response.metadata().get("ratelimit");
                println!("{key:?}: admitted, RateLimit: {left:?}");
                return Ok(waited);
            }
            Err(status) => status,
        };
        println!("{key:?}: {:?}, {}", status.code(), status.message());
        let retry_info = status.get_details_retry_info();
        let Some(delay) = retry_info.and_then(|info| info.retry_delay) else {
            return Err(status);
        };
        println!("{key:?}: waits {delay:.3?}");
        tokio::time::sleep(delay).await;
        waited += delay;
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // By API key. For a limit by address, use a closure that reads tonic's `TcpConnectInfo` from
    // the request's extensions.
    let limits = TokenBucketLayer::new(Quota::per_second(1).burst(2))
        .per(key::ApiKey::header("x-api-key"))
        .respond_as(Grpc);
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(limits).add_service(health);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));

    let mut client = HealthClient::new(Endpoint::from_shared(url)?.connect().await?);
    let [ann, bob] = ["ann", "bob"].map(Key::from_static);
    assert_eq!(ask(&mut client, &ann).await?, Duration::ZERO);
    assert_eq!(ask(&mut client, &ann).await?, Duration::ZERO);
    let (mut same, mut other) = (client.clone(), client.clone());
    let (ann, bob) = tokio::join!(ask(&mut same, &ann), ask(&mut other, &bob));
    assert!(ann? > Duration::ZERO, "her third did not fit");
    assert_eq!(bob?, Duration::ZERO, "his limit is his own");

    let Err(status) = client.check(HealthCheckRequest::default()).await else {
        return Err("it has no key".into());
    };
    println!("without a key: {:?}, {}", status.code(), status.message());
    assert_eq!(status.code(), Code::Unauthenticated);
    Ok(())
}
