//! Closing a limiter: queued and new requests are rejected, and requests in flight continue.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicUsize, Ordering},
    task::{Context, Poll},
    time::Duration,
};

use futures::future::join_all;
use http::{Request, Response, StatusCode};
use tokio::time::{Instant, timeout};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, ConcurrencyLayer, ConcurrencyLimiter, Quota, Reason, Rejected,
    RetryAfterBackoffLayer, SlidingWindowLimiter, TokenBucketLayer, TokenBucketLimiter, Tokens,
    concurrency::Priority,
    provider::{Provider, ProviderLimiter},
    rejection::{Grpc, Text},
};

use crate::support::{call, ms, poll_once, probe, start};

type Acquire = Pin<Box<dyn Future<Output = Result<(), Rejected>> + Send>>;

/// A limiter with room for two requests, which keep what they took.
struct Limiter {
    acquire: Box<dyn Fn() -> Acquire + Send + Sync>,
    close: Box<dyn Fn() + Send + Sync>,
    is_closed: Box<dyn Fn() -> bool>,
}

macro_rules! limiter {
    ($limiter:expr, $acquire:ident($($cost:expr)?)) => {{
        let limiter = $limiter;
        let [acquiring, closing] = [limiter.clone(), limiter.clone()];
        Limiter {
            acquire: Box::new(move || {
                let limiter = acquiring.clone();
                Box::pin(async move { limiter.$acquire($($cost)?).await.map(std::mem::forget) })
            }),
            close: Box::new(move || closing.close()),
            is_closed: Box::new(move || limiter.is_closed()),
        }
    }};
}

fn all() -> [Limiter; 6] {
    [
        limiter!(TokenBucketLimiter::new(Quota::per_day(2)), acquire(1)),
        limiter!(SlidingWindowLimiter::new(Quota::per_day(2)), acquire(1)),
        limiter!(
            SlidingWindowLimiter::new(Quota::per_day(5_000)),
            acquire(2_500)
        ),
        limiter!(ConcurrencyLimiter::new(2), acquire()),
        limiter!(ConcurrencyLimiter::new(2), acquire_as(Priority::Normal)),
        limiter!(
            ProviderLimiter::new(Provider::new("test").rpd(2)),
            acquire(Tokens::new(1, 1))
        ),
    ]
}

fn assert_closed<T: std::fmt::Debug>(result: Result<T, Rejected>) {
    let rejected = result.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Closed);
    assert_eq!(rejected.retry_after(), None);
    assert!(!rejected.exceeds_capacity());
}

#[tokio::test(start_paused = true)]
async fn queued_and_new_requests_are_rejected_at_once() {
    for limiter in all() {
        let begin = Instant::now();
        for _ in 0..2 {
            (limiter.acquire)().await.unwrap();
        }
        let mut waiting: Vec<_> = (0..4).map(|_| (limiter.acquire)()).collect();
        for one in &mut waiting {
            assert!(poll_once(one).await.is_none());
        }
        assert!(!(limiter.is_closed)());
        (limiter.close)();
        (limiter.close)();
        assert!((limiter.is_closed)());
        // The last first: the head of the queue is not polled meanwhile.
        for one in waiting.into_iter().rev() {
            assert_closed(one.await);
        }
        assert_closed((limiter.acquire)().await);
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn each_queued_task_is_woken() {
    for limiter in all() {
        let tasks: Vec<_> = (0..6).map(|_| tokio::spawn((limiter.acquire)())).collect();
        tokio::time::sleep(ms(100)).await;
        (limiter.close)();
        let results = timeout(ms(10), join_all(tasks)).await.unwrap();
        let (started, closed): (Vec<_>, Vec<_>) = results
            .into_iter()
            .map(Result::unwrap)
            .partition(Result::is_ok);
        assert_eq!((started.len(), closed.len()), (2, 4));
        closed.into_iter().for_each(assert_closed);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_racing_request_never_waits_forever() {
    for _ in 0..100 {
        for limiter in all() {
            let tasks: Vec<_> = (0..8).map(|_| tokio::spawn((limiter.acquire)())).collect();
            tokio::task::yield_now().await;
            (limiter.close)();
            let results = timeout(Duration::from_secs(10), join_all(tasks)).await;
            for result in results.expect("all end") {
                if let Err(rejected) = result.unwrap() {
                    assert_eq!(rejected.reason(), Reason::Closed);
                }
            }
        }
    }
}

/// A service that is never ready.
#[derive(Clone)]
struct Busy;

impl Service<()> for Busy {
    type Response = ();
    type Error = BoxError;
    type Future = std::future::Ready<Result<(), BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Pending
    }

    fn call(&mut self, (): ()) -> Self::Future {
        unreachable!("never ready")
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_is_rejected_while_its_service_is_not_ready() {
    let bucket = TokenBucketLimiter::new(Quota::per_second(1).burst(1));
    let slots = ConcurrencyLimiter::new(1);
    let held = slots.acquire().await.unwrap();
    bucket.acquire(1).await.unwrap();
    let mut limited = TokenBucketLayer::from(bucket.clone()).layer(Busy);
    let mut concurrent = ConcurrencyLayer::from(slots.clone())
        .until_response()
        .layer(Busy);
    // `Busy` is never ready: the first instance is called without, and waits for a second.
    let tasks = [
        tokio::spawn(Service::call(&mut limited, ())),
        tokio::spawn(Service::call(&mut concurrent, ())),
    ];
    drop(held);
    tokio::time::sleep(Duration::from_secs(5)).await;
    bucket.close();
    slots.close();
    for task in tasks {
        let error = timeout(ms(10), task).await.unwrap().unwrap().unwrap_err();
        assert_eq!(Rejected::of(&error).unwrap().reason(), Reason::Closed);
    }
    assert_eq!((slots.in_flight(), bucket.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_continues() {
    let layer = ConcurrencyLayer::new(1).until_response();
    let limiter = layer.limiter().clone();
    let mut service = layer.layer(service_fn(async |()| {
        tokio::time::sleep(ms(50)).await;
        Ok::<_, BoxError>(())
    }));
    let running = start(&mut service, ()).await;
    let waiting = start(&mut service, ()).await;
    limiter.close();
    assert_eq!((limiter.in_flight(), limiter.waiting()), (1, 1));
    let error = waiting.end().await.unwrap_err();
    assert_eq!(Rejected::of(&error).unwrap().reason(), Reason::Closed);
    running.end().await.unwrap();
    assert_eq!((limiter.in_flight(), limiter.waiting()), (0, 0));
    limiter.set_limit(0);
    limiter.set_limit(5);
    for priority in [Priority::Critical, Priority::High, Priority::Low] {
        assert_closed(limiter.try_acquire_as(priority));
        assert_closed(limiter.acquire_as(priority).await);
    }
    assert!(limiter.is_closed());
}

#[tokio::test(start_paused = true)]
async fn a_closed_limiter_responds_503_and_come_back() {
    let layer = TokenBucketLayer::new(Quota::per_second(1)).respond_as(Text);
    layer.limiter().close();
    let mut server = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, BoxError>(Response::new(String::new()))
    }));
    let response = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    // Another server may answer, while this one stops.
    assert_eq!(response.headers()["retry-after"], "1");
    assert_eq!(response.body(), "service unavailable, retry in 1 second\n");
    let rejected = response.extensions().get::<Rejected>().unwrap();
    assert_eq!(rejected.reason().as_str(), "closed");
    assert!(rejected.to_string().ends_with("the limiter is closed"));
}

#[tokio::test(start_paused = true)]
async fn a_closed_limiter_is_unavailable_in_grpc() {
    let layer = TokenBucketLayer::new(Quota::per_second(1)).respond_as(Grpc);
    layer.limiter().close();
    let mut server = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, BoxError>(Response::new(String::new()))
    }));
    let response = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(response.headers()["grpc-status"], "14");
    assert_eq!(response.headers()["grpc-retry-pushback-ms"], "1000");
}

#[tokio::test(start_paused = true)]
async fn a_closed_limiter_is_not_retried() {
    let layer = TokenBucketLayer::new(Quota::per_second(1));
    layer.limiter().close();
    let retries = AtomicUsize::new(0);
    let mut client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .map_request(|request| {
            retries.fetch_add(1, Ordering::Relaxed);
            request
        })
        .layer(layer)
        .service(service_fn(async |_: Request<String>| {
            Ok::<_, BoxError>(Response::new(String::new()))
        }));
    let error = client
        .ready()
        .await
        .unwrap()
        .call(Request::new(String::new()));
    let error = error.await.unwrap_err();
    assert_eq!(Rejected::of(&error).unwrap().reason(), Reason::Closed);
    assert_eq!(retries.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_free_request_is_rejected_as_well() {
    let layer = TokenBucketLayer::new(Quota::per_second(1)).cost(|_: &()| 0);
    let limiter = layer.limiter().clone();
    let mut service = layer.layer(probe());
    call(&mut service, ()).await.unwrap();
    limiter.close();
    call(&mut service, ()).await.unwrap_err();
}
