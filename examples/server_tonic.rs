//! A tonic server with a limit for each API key, and a client that waits for as long as `RetryInfo`
//! says; then one with a limit for each address: `cargo run --example server_tonic`.

use std::{error::Error, io, time::Duration};

use tokio::net::TcpListener;
use tonic::{
    Code, Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{
        Channel, Endpoint, Server,
        server::{TcpConnectInfo, TcpIncoming},
    },
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;
use tower::util::MapRequestLayer;
use tower_throttle::{
    Quota, TokenBucketLayer,
    key::{self, PeerAddr},
    rejection::Grpc,
};

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

/// Inserts the address of the peer, which `PeerIp` and `ClientIp` read. With TLS, tonic has it in
/// a `TlsConnectInfo<TcpConnectInfo>`, whose `get_ref` returns this one.
fn insert_peer<B>(mut request: http::Request<B>) -> http::Request<B> {
    let info = request.extensions().get::<TcpConnectInfo>();
    if let Some(peer) = info.and_then(TcpConnectInfo::remote_addr) {
        request.extensions_mut().insert(PeerAddr(peer));
    }
    request
}

/// Returns the connections to a free port, and its URL.
async fn listen() -> io::Result<(TcpIncoming, String)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    Ok((TcpIncoming::from(listener), url))
}

async fn by_api_key() -> Result<(), Box<dyn Error>> {
    let limits = TokenBucketLayer::new(Quota::per_second(1).burst(2))
        .per(key::ApiKey::header("x-api-key"))
        .respond_as(Grpc);
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(limits).add_service(health);
    let (incoming, url) = listen().await?;
    tokio::spawn(server.serve_with_incoming(incoming));

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

async fn by_address() -> Result<(), Box<dyn Error>> {
    let limits = TokenBucketLayer::new(Quota::per_minute(1))
        .per(key::PeerIp)
        .respond_as(Grpc);
    let (_reporter, health) = tonic_health::server::health_reporter();
    let server = Server::builder()
        .layer(MapRequestLayer::new(insert_peer))
        .layer(limits)
        .add_service(health);
    let (incoming, url) = listen().await?;
    tokio::spawn(server.serve_with_incoming(incoming));

    // Each address in 127.0.0.0/8 works. (On macOS they have to be added first.)
    for (host, expected) in [
        (1, Code::Ok),
        (1, Code::ResourceExhausted),
        (2, Code::Ok),
        (2, Code::ResourceExhausted),
    ] {
        let endpoint = Endpoint::from_shared(url.clone())?;
        let endpoint = endpoint.local_address(Some([127, 0, 0, host].into()));
        let mut client = HealthClient::new(endpoint.connect().await?);
        let result = client.check(HealthCheckRequest::default()).await;
        let code = result.map_or_else(|status| status.code(), |_| Code::Ok);
        println!("127.0.0.{host}: {code:?}");
        assert_eq!(code, expected);
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    by_api_key().await?;
    by_address().await
}
