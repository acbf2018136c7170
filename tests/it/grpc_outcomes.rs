//! The status of a gRPC response is its outcome, and a pushback says when to try again.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use http::{Request, Response};
use http_body_util::{BodyExt, Empty, Full};
use tokio::{net::TcpListener, time::Instant};
use tonic::{body::Body, transport::Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, CircuitBreakerLayer, FallbackLayer, Outcome, RetryAfterBackoffLayer,
    fallback::Condition,
};

use crate::support::ms;

fn response(status: u16, pushback: Option<&str>) -> Response<String> {
    let mut response = Response::builder().header("content-type", "application/grpc");
    response = response.header("grpc-status", status);
    if let Some(pushback) = pushback {
        response = response.header("grpc-retry-pushback-ms", pushback);
    }
    response.body(String::new()).unwrap()
}

/// Returns how many attempts a call took, and how long.
async fn attempts(status: u16, pushback: Option<&'static str>) -> (usize, std::time::Duration) {
    attempts_with(RetryAfterBackoffLayer::new(), status, pushback).await
}

async fn attempts_with(
    layer: RetryAfterBackoffLayer,
    status: u16,
    pushback: Option<&'static str>,
) -> (usize, std::time::Duration) {
    let sent = AtomicUsize::new(0);
    let client = layer.layer(service_fn(async |_: Request<String>| {
        let first = sent.fetch_add(1, Ordering::Relaxed) == 0;
        Ok::<_, Infallible>(match first {
            true => response(status, pushback),
            false => response(0, None),
        })
    }));
    let begun = Instant::now();
    client
        .oneshot(Request::post("/").body(String::new()).unwrap())
        .await
        .unwrap();
    (sent.load(Ordering::Relaxed), begun.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_pushback_is_followed() {
    // RESOURCE_EXHAUSTED, UNAVAILABLE, and whatever else the server asks to send again.
    for status in [8, 14, 13, 10] {
        let (attempts, time) = attempts(status, Some("700")).await;
        assert_eq!(attempts, 2, "{status}");
        assert!(time >= ms(700) && time <= ms(800), "{time:?}");
    }
    // No retry, by a negative or an unreadable one.
    for pushback in ["-1", "soon", ""] {
        for status in [8, 14] {
            assert_eq!(attempts(status, Some(pushback)).await.0, 1, "{pushback}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn statuses_without_pushback() {
    for (status, expected) in [(0, 1), (3, 1), (8, 2), (12, 1), (13, 1), (14, 1), (16, 1)] {
        assert_eq!(attempts(status, None).await.0, expected, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn lost_data_is_retried_only_by_a_pushback() {
    for (status, pushback, expected) in [(15, None, 1), (15, Some("9"), 2), (13, None, 2)] {
        let layer = RetryAfterBackoffLayer::new().retry_non_idempotent();
        let (attempts, _) = attempts_with(layer, status, pushback).await;
        assert_eq!(attempts, expected, "{status} {pushback:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_circuit_sees_the_status() {
    for (status, is_failure) in [(0, false), (4, true), (5, false), (8, true), (14, true)] {
        let layer = CircuitBreakerLayer::new();
        let client = layer.layer(service_fn(move |_: Request<String>| async move {
            Ok::<_, Infallible>(response(status, None))
        }));
        for _ in 0..10 {
            let _ = client.clone().oneshot(Request::new(String::new())).await;
        }
        assert_eq!(layer.circuit().is_open(), is_failure, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_sees_the_status() {
    for (status, is_served) in [(0, false), (5, false), (8, true), (14, true)] {
        let server = service_fn(move |_: Request<String>| async move {
            Ok::<_, Infallible>(response(status, None))
        });
        let backup = FallbackLayer::value(response(0, Some("1"))).when(Condition::outcome([
            Outcome::RateLimited,
            Outcome::Overloaded,
        ]));
        let response = backup.layer(server).oneshot(Request::new(String::new()));
        let response = response.await.unwrap();
        assert_eq!(response.headers().len() == 3, is_served, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fallback_sees_it_by_default() {
    for (status, is_served) in [(0, false), (5, false), (8, true), (14, true)] {
        let server = service_fn(move |_: Request<String>| async move {
            Ok::<_, Infallible>(response(status, None))
        });
        let backup = FallbackLayer::value(response(0, Some("1")));
        let response = backup.layer(server).oneshot(Request::new(String::new()));
        let response = response.await.unwrap();
        assert_eq!(response.headers().len() == 3, is_served, "{status}");
    }
}

/// A health service that answers at first with this status, without a body.
async fn serve(status: u16, times: usize) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
        let is_early = counted.fetch_add(1, Ordering::Relaxed) < times;
        async move {
            request.into_body().collect().await?;
            let status = if is_early { status } else { 0 };
            let (head, _) = response(status, is_early.then_some("20")).into_parts();
            Ok::<_, BoxError>(Response::from_parts(head, Empty::<bytes::Bytes>::new()))
        }
    });
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(service.clone());
            let executor = hyper_util::rt::TokioExecutor::new();
            let http = hyper::server::conn::http2::Builder::new(executor);
            let io = hyper_util::rt::TokioIo::new(stream);
            tokio::spawn(http.serve_connection(io, service));
        }
    });
    (address, calls)
}

#[tokio::test]
async fn a_tonic_client_is_retried() {
    let (address, calls) = serve(8, 2).await;
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await.unwrap();
    let retry = RetryAfterBackoffLayer::new();
    // The messages of a unary call are collected, so that they can be sent again.
    let channel = ServiceBuilder::new()
        .layer(retry)
        .map_request(|request: Request<Full<bytes::Bytes>>| request.map(Body::new))
        .service(channel);
    let channel = service_fn(move |request: Request<Body>| {
        let channel = channel.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = Full::new(body.collect().await?.to_bytes());
            channel.oneshot(Request::from_parts(head, body)).await
        }
    });
    let mut client = HealthClient::new(channel);
    // Without a message, the last response is an error of its own: what counts are the calls.
    let _ = client.check(HealthCheckRequest::default()).await;
    assert_eq!(calls.load(Ordering::Relaxed), 3);
}
