//! A tonic client with retries on gRPC statuses, a circuit breaker and a second server to fall back
//! to: `cargo run --example client_tonic`.

use std::{
    error::Error,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use http::Request;
use tokio::{net::TcpListener, time::Instant};
use tonic::{
    Response, Status,
    body::Body,
    codegen::BoxStream,
    metadata::MetadataValue,
    transport::{Channel, Endpoint, Server, server::TcpIncoming},
};
use tonic_health::pb::{
    HealthCheckRequest, HealthCheckResponse,
    health_check_response::ServingStatus,
    health_client::HealthClient,
    health_server::{Health, HealthServer},
};
use tower::ServiceBuilder;
use tower_throttle::{
    Circuit, CircuitBreakerLayer, FallbackLayer, Outcome, RetryAfterBackoffLayer,
    fallback::Condition,
    replay::{ReplayLayer, body::ReplayBody},
};

/// A health service that counts its calls, and is too busy for some of them.
struct Busy {
    name: &'static str,
    calls: Arc<AtomicU32>,
    is_busy: fn(u32) -> bool,
}

#[tonic::async_trait]
impl Health for Busy {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let is_busy = (self.is_busy)(call);
        println!("  {}, call {call}: {service:?}, busy: {is_busy}", self.name);
        if service != "shop" {
            return Err(Status::invalid_argument("not the message that was sent"));
        }
        if !is_busy {
            let status = ServingStatus::Serving.into();
            return Ok(Response::new(HealthCheckResponse { status }));
        }
        let mut status = Status::resource_exhausted("busy");
        let pushback = MetadataValue::from_static("200");
        status
            .metadata_mut()
            .insert("grpc-retry-pushback-ms", pushback);
        Err(status)
    }

    type WatchStream = BoxStream<HealthCheckResponse>;

    async fn watch(
        &self,
        _: tonic::Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not needed here"))
    }
}

/// Starts a server, and returns a channel to it and the number of its calls.
async fn serve(
    name: &'static str,
    is_busy: fn(u32) -> bool,
) -> Result<(Channel, Arc<AtomicU32>), Box<dyn Error>> {
    let calls = Arc::new(AtomicU32::new(0));
    let health = HealthServer::new(Busy {
        name,
        calls: calls.clone(),
        is_busy,
    });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    let server = Server::builder().add_service(health);
    tokio::spawn(server.serve_with_incoming(TcpIncoming::from(listener)));
    Ok((Endpoint::from_shared(url)?.connect().await?, calls))
}

/// The body of tonic's requests is a stream. This is one that is recorded for the next attempt.
fn body(request: Request<ReplayBody<Body>>) -> Request<Body> {
    request.map(Body::new)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (first, first_calls) = serve("first", |call| call != 3).await?;
    let (second, second_calls) = serve("second", |_| false).await?;
    let calls = || [&first_calls, &second_calls].map(|calls| calls.load(Ordering::Relaxed));

    let second = ServiceBuilder::new().map_request(body).service(second);
    // The default condition of a fallback looks at the HTTP status, which is 200 with gRPC. These
    // are RESOURCE_EXHAUSTED, UNAVAILABLE, and an open circuit.
    let failure = Condition::outcome([Outcome::RateLimited, Outcome::Overloaded]);
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(FallbackLayer::new(second).when(failure.or(Condition::any_error())))
        .layer(RetryAfterBackoffLayer::new().attempts(3))
        .layer(CircuitBreakerLayer::from(Circuit::new().failures(3)))
        .map_request(body)
        .service(first);
    let mut client = HealthClient::new(client);

    for (expected, shortest, what) in [
        ([3, 0], 400, "the third attempt, after two pushbacks"),
        ([6, 1], 400, "the second server, after three attempts"),
        ([6, 2], 0, "the second server at once: the circuit is open"),
    ] {
        let start = Instant::now();
        let service = "shop".into();
        let response = client.check(HealthCheckRequest { service }).await?;
        let elapsed = start.elapsed();
        println!("{elapsed:.1?}: {:?} by {what}", response.get_ref().status());
        assert_eq!(response.get_ref().status(), ServingStatus::Serving);
        assert_eq!(calls(), expected);
        assert!(elapsed >= Duration::from_millis(shortest));
    }
    Ok(())
}
