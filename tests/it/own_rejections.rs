//! A response of this crate's own limits says nothing about the service behind them.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};
use tower_throttle::{
    BoxError, CircuitBreakerLayer, ConcurrencyLayer, ConcurrencyLimiter, Outcome, Quota,
    RetryAfterBackoffLayer, SlidingWindowLayer, StreamErrorLayer, TokenBucketLayer, Tokens,
    concurrency::Adaptive,
    key::{ApiKey, PeerIp},
    provider::{Provider, ProviderLayer, ProviderLimiter},
    rejection::Grpc,
};

type Body = Full<Bytes>;
type Boxed<B> = BoxCloneService<Request<Full<Bytes>>, Response<B>, BoxError>;

async fn server(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(Response::new(Full::from("yes")))
}

fn request() -> Request<Body> {
    Request::new(Full::from("no"))
}

/// A service inside of a limit that rejects all requests, with a wait of about an hour.
fn limited() -> Boxed<Body> {
    let limit = TokenBucketLayer::new(Quota::per_hour(0)).respond();
    BoxCloneService::new(limit.layer(service_fn(server)).map_err(Into::into))
}

/// The same with the other limits, and the other forms of a rejection.
fn all_limits() -> Vec<Boxed<Body>> {
    let boxed = |service: Boxed<Body>| service;
    let window = SlidingWindowLayer::new(Quota::per_hour(0)).respond();
    let in_flight = ConcurrencyLayer::new(0).until_response().respond();
    let grpc = TokenBucketLayer::new(Quota::per_hour(0)).respond_as(Grpc);
    let inner = service_fn(server);
    vec![
        limited(),
        boxed(BoxCloneService::new(
            window.layer(inner).map_err(Into::into),
        )),
        boxed(BoxCloneService::new(
            in_flight.layer(inner).map_err(Into::into),
        )),
        boxed(BoxCloneService::new(grpc.layer(inner).map_err(Into::into))),
    ]
}

#[tokio::test]
async fn a_circuit_stays_closed() {
    for inner in all_limits() {
        let layer = CircuitBreakerLayer::new();
        let client = ServiceBuilder::new()
            .layer(&layer)
            .layer(StreamErrorLayer::new())
            .service(inner);
        for _ in 0..30 {
            let response = client.clone().oneshot(request()).await.unwrap();
            assert_eq!(Outcome::of(Ok(&response)), None);
        }
        assert!(!layer.circuit().is_open());
    }
}

#[tokio::test]
async fn a_circuit_stays_closed_for_a_missing_key() {
    async fn check<S, B>(inner: S, status: StatusCode)
    where
        S: Service<Request<Body>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    {
        let layer = CircuitBreakerLayer::new();
        let client = layer.layer(inner);
        for _ in 0..30 {
            let response = client.clone().oneshot(request()).await.unwrap();
            assert_eq!(response.status(), status);
        }
        assert!(!layer.circuit().is_open());
    }
    let layer = TokenBucketLayer::new(Quota::per_hour(1));
    let by_key = layer.clone().per(ApiKey::header("x-api-key")).respond();
    check(by_key.layer(service_fn(server)), StatusCode::UNAUTHORIZED).await;
    let by_peer = layer.per(PeerIp).respond();
    check(
        by_peer.layer(service_fn(server)),
        StatusCode::INTERNAL_SERVER_ERROR,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_provider_does_not_pause() {
    for inner in all_limits() {
        let limiter = ProviderLimiter::new(Provider::new("small").rpm(60).tpm(100_000));
        let client = ServiceBuilder::new()
            .layer(ProviderLayer::from(limiter.clone()))
            .layer(StreamErrorLayer::new())
            .service(inner);
        client.oneshot(request()).await.unwrap();
        let usage = limiter.usage();
        assert_eq!(usage.paused_for, Duration::ZERO);
        assert_eq!(usage.in_flight, 0);
        // It was not sent.
        assert!(usage.limits().all(|limit| limit.used == 0));
        assert!(limiter.try_acquire(Tokens::default()).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn it_is_not_retried() {
    for inner in all_limits() {
        let sent = Arc::new(AtomicUsize::new(0));
        let counted = sent.clone();
        let client = ServiceBuilder::new()
            .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
            .map_request(move |request| {
                counted.fetch_add(1, Ordering::Relaxed);
                request
            })
            .layer(StreamErrorLayer::new())
            .service(inner);
        client.oneshot(request()).await.unwrap();
        assert_eq!(sent.load(Ordering::Relaxed), 1);
    }
}

#[tokio::test]
async fn an_adaptive_limit_stays() {
    for inner in all_limits() {
        let limiter = ConcurrencyLimiter::adaptive(Adaptive::gradient().initial(20));
        let client = ServiceBuilder::new()
            .layer(ConcurrencyLayer::from(limiter.clone()))
            .layer(StreamErrorLayer::new())
            .service(inner);
        for _ in 0..100 {
            client.clone().oneshot(request()).await.unwrap();
        }
        assert_eq!(limiter.limit(), 20);
    }
}
