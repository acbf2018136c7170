//! Refusals in gRPC, as tonic's client, other clients and tonic's server see them.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body as _;
use http_body_util::Empty;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    net::TcpListener,
    time::{Instant, sleep},
};
use tonic::{
    Code, Status,
    body::Body,
    service::Routes,
    transport::{
        Channel, Endpoint, Server,
        server::{TcpConnectInfo, TcpIncoming},
    },
};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tonic_types::StatusExt;
use tower::{Layer, Service, ServiceBuilder};
use tower_throttle::{
    BoxError, ConcurrencyLayer, Quota, Rejected, SlidingWindowLayer, TokenBucketLayer,
    key::{ApiKey, ClientKey},
    rejection::Grpc,
};

/// Serves the service that tells whether a server is well, inside of `layer`.
async fn serve<L, B>(layer: L) -> SocketAddr
where
    L: Layer<Routes> + Clone + Send + 'static,
    L::Service: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError> + Send, Future: Send>
        + Clone
        + Send
        + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (_, health) = tonic_health::server::health_reporter();
    let server = Server::builder().layer(layer).add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    address
}

async fn client(address: SocketAddr) -> HealthClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    HealthClient::new(endpoint.connect().await.unwrap())
}

/// Asks after the whole server, under a key.
fn ask(key: &'static str) -> tonic::Request<HealthCheckRequest> {
    let mut request = tonic::Request::new(HealthCheckRequest::default());
    request
        .metadata_mut()
        .insert("x-api-key", key.parse().unwrap());
    request
}

fn delay(status: &Status) -> Option<Duration> {
    status.get_details_retry_info()?.retry_delay
}

#[tokio::test]
async fn a_client_that_waits_as_it_is_told_is_admitted() {
    let quota = Quota::per_second(1);
    let address = serve(TokenBucketLayer::new(quota).respond_as(Grpc)).await;
    let mut client = client(address).await;
    client.check(ask("ann")).await.unwrap();
    let refused = client.check(ask("ann")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(refused.message(), "too many requests, retry in 1 second");
    let delay = delay(&refused).unwrap();
    assert!(delay <= quota.period() && !delay.is_zero(), "{delay:?}");
    // With a real socket, the wait is a real one.
    sleep(delay).await;
    client.check(ask("ann")).await.unwrap();
}

#[tokio::test]
async fn each_caller_has_a_limit_and_reads_in_metadata_where_it_stands() {
    let layer = TokenBucketLayer::new(Quota::per_hour(2))
        .per(ApiKey::header("x-api-key"))
        .respond_as(Grpc);
    let mut client = client(serve(layer).await).await;
    let admitted = client.check(ask("ann")).await.unwrap();
    let left = |metadata: &tonic::metadata::MetadataMap| {
        let field = metadata.get("ratelimit").unwrap().to_str().unwrap();
        field.split(';').nth(1).unwrap().to_owned()
    };
    assert_eq!(left(admitted.metadata()), "r=1");
    client.check(ask("ann")).await.unwrap();
    let refused = client.check(ask("ann")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(left(refused.metadata()), "r=0");
    let half_an_hour = Duration::from_secs(1_800);
    let delay = delay(&refused).unwrap();
    assert!(delay <= half_an_hour && delay > half_an_hour - Duration::from_secs(60));
    client.check(ask("bob")).await.unwrap();
    let nobody = client.check(HealthCheckRequest::default()).await;
    let nobody = nobody.unwrap_err();
    assert_eq!(nobody.code(), Code::Unauthenticated);
    assert!(nobody.details().is_empty());
}

#[tokio::test]
async fn the_address_that_tonic_knows_can_be_the_key() {
    let peer = |request: &Request<Body>| {
        let info: &TcpConnectInfo = request.extensions().get()?;
        Some(ClientKey::network(info.remote_addr()?.ip(), 32))
    };
    let layer = TokenBucketLayer::new(Quota::per_hour(1)).per(peer);
    let limiter = layer.limiter().clone();
    let mut client = client(serve(layer.respond_as(Grpc)).await).await;
    client.check(ask("ann")).await.unwrap();
    let refused = client.check(ask("bob")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(limiter.top(1)[0].key.to_string(), "127.0.0.1");
}

#[tokio::test]
async fn a_stream_is_in_flight_until_it_is_dropped() {
    let layer = ConcurrencyLayer::new(1).respond_as(Grpc);
    let limiter = layer.limiter().clone();
    let mut client = client(serve(layer).await).await;
    let mut stream = client.watch(ask("ann")).await.unwrap().into_inner();
    assert!(stream.message().await.unwrap().is_some());
    let refused = client.check(ask("ann")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(delay(&refused), Some(Duration::from_secs(1)));
    drop(stream);
    let began = Instant::now();
    while limiter.in_flight() > 0 {
        assert!(began.elapsed() < Duration::from_secs(5), "it is held");
        sleep(Duration::from_millis(1)).await;
    }
    client.check(ask("ann")).await.unwrap();
}

#[tokio::test]
async fn a_stream_that_is_refused_ends_before_it_begins() {
    let layer = SlidingWindowLayer::new(Quota::per_second(1)).cost(|_: &Request<Body>| 2);
    let mut client = client(serve(layer.respond_as(Grpc)).await).await;
    let refused = client.watch(ask("ann")).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.details().is_empty());
    let pushback = refused.metadata().get("grpc-retry-pushback-ms").unwrap();
    assert_eq!(pushback, "-1");
}

#[tokio::test]
async fn limits_stack_in_front_of_a_server() {
    let layers = ServiceBuilder::new()
        .layer(ConcurrencyLayer::new(9).until_response().respond_as(Grpc))
        .layer(SlidingWindowLayer::new(Quota::per_hour(9)).respond_as(Grpc))
        .layer(TokenBucketLayer::new(Quota::per_hour(1)).respond_as(Grpc))
        .into_inner();
    let mut client = client(serve(layers).await).await;
    client.check(ask("ann")).await.unwrap();
    let refused = client.check(ask("ann")).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn on_the_wire_it_is_one_frame_of_headers() {
    let address = serve(TokenBucketLayer::new(Quota::per_hour(1)).respond_as(Grpc)).await;
    let client = Client::builder(TokioExecutor::new())
        .http2_only(true)
        .build_http::<Empty<Bytes>>();
    let ask = || {
        Request::post(format!("http://{address}/some.Service/Method"))
            .version(Version::HTTP_2)
            .header("content-type", "application/grpc+json")
            .header("te", "trailers")
            .body(Empty::new())
            .unwrap()
    };
    client.request(ask()).await.unwrap();
    let refused = client.request(ask()).await.unwrap();
    assert_eq!(refused.status(), 200);
    assert!(refused.body().is_end_stream());
    let mut names: Vec<&str> = refused.headers().keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    let expected = [
        "content-type",
        "date",
        "grpc-message",
        "grpc-retry-pushback-ms",
        "grpc-status",
        "grpc-status-details-bin",
    ];
    assert_eq!(names, expected);
    assert_eq!(refused.headers()["content-type"], "application/grpc");
    assert_eq!(refused.headers()["grpc-status"], "8");
}

#[tokio::test(start_paused = true)]
async fn the_refusal_is_in_the_extensions_for_layers_further_out() {
    let layer = ConcurrencyLayer::new(0).respond_as(Grpc);
    let mut server = layer.layer(tower::service_fn(async |_: Request<()>| {
        Ok::<_, BoxError>(Response::new(Body::empty()))
    }));
    let refused = server.call(Request::new(())).await.unwrap();
    let rejected: &Rejected = refused.extensions().get().unwrap();
    assert!(rejected.exceeds_capacity());
}
