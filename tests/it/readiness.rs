//! The contract of `poll_ready`, over a service that holds something once it is ready.

use std::{convert::Infallible, time::Duration};

use futures::future::join_all;
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_throttle::{
    ConcurrencyLayer, ConcurrencyLimiter, Quota, SlidingWindowLayer, SlidingWindowLimiter,
    TokenBucketLayer,
};

use crate::support::{ms, poll_once, probe, start};

/// Runs a test for each limiter, given a layer that lets one request start and the next one wait.
macro_rules! for_each_limiter {
    ($($name:ident: $test:ident($layer:expr);)+) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            $test!($layer);
        }
    )+};
}

/// A hundred requests over tower's `ConcurrencyLimit(1)`, while the service they were cloned from stays alive.
macro_rules! neither_deadlocks_nor_leaks {
    ($layer:expr) => {
        let answer = service_fn(async |n: u32| {
            sleep(ms(1)).await;
            Ok::<_, Infallible>(n)
        });
        let inner = ConcurrencyLimit::new(answer, 1);
        let service = $layer.layer(inner.clone());
        let requests = (0..100).map(|n| {
            let mut service = service.clone();
            async move { service.ready().await.unwrap().call(n).await.unwrap() }
        });
        let answers = timeout(Duration::from_secs(3_600), join_all(requests)).await;
        assert_eq!(answers.expect("a deadlock"), (0..100).collect::<Vec<_>>());
        // The one permit is free again.
        assert!(inner.clone().ready().await.is_ok());
    };
}

for_each_limiter! {
    token_bucket_over_concurrency_limit_1: neither_deadlocks_nor_leaks(
        TokenBucketLayer::new(Quota::per_second(10).burst(1)));
    sliding_window_over_concurrency_limit_1: neither_deadlocks_nor_leaks(
        SlidingWindowLayer::new(Quota::per_second(3)));
    concurrency_over_concurrency_limit_1: neither_deadlocks_nor_leaks(
        ConcurrencyLayer::new(1).until_response());
}

/// One request waits for the limiter, and the permit of the inner limit is free meanwhile.
macro_rules! holds_no_ready_service_while_it_waits {
    ($layer:expr) => {
        let inner = ConcurrencyLimit::new(probe(), 1);
        let mut other = inner.clone();
        let layer = $layer;
        let mut service = layer.layer(inner);
        let first = start(&mut service, ()).await;
        let waiting = start(&mut service, ()).await;
        assert!(waiting.waits());
        drop(first);
        assert!(
            poll_once(other.ready()).await.is_some(),
            "the permit is held by a sleeper"
        );
    };
}

for_each_limiter! {
    a_token_bucket_holds_no_ready_service_while_it_waits: holds_no_ready_service_while_it_waits(
        TokenBucketLayer::new(Quota::per_hour(1)));
    a_sliding_window_holds_no_ready_service_while_it_waits: holds_no_ready_service_while_it_waits(
        SlidingWindowLayer::new(Quota::per_hour(1)));
}

#[tokio::test(start_paused = true)]
async fn concurrency_holds_no_ready_service_while_it_waits() {
    let limiter = ConcurrencyLimiter::new(1);
    let inner = ConcurrencyLimit::new(probe(), 1);
    let mut other = inner.clone();
    let mut service = ConcurrencyLayer::from(limiter.clone())
        .until_response()
        .layer(inner);
    let _held = limiter.try_acquire().unwrap();
    let waiting = start(&mut service, ()).await;
    assert!(waiting.waits());
    assert!(
        poll_once(other.ready()).await.is_some(),
        "the permit is held by a sleeper"
    );
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_when_it_starts_and_not_while_it_waits_for_the_inner_service() {
    let limiter = SlidingWindowLimiter::new(Quota::per_second(2));
    let inner = ConcurrencyLimit::new(probe(), 1);
    let mut blocker = inner.clone();
    let mut service = SlidingWindowLayer::from(limiter.clone()).layer(inner);
    for _ in 0..2 {
        start(&mut service, ()).await.end().await.unwrap();
    }
    let mut waiting = Box::pin(service.ready().await.unwrap().call(()));
    assert!(poll_once(&mut waiting).await.is_none());
    blocker.ready().await.unwrap();
    // Due after a second, and blocked for four more.
    let unblock = async {
        sleep(ms(5_000)).await;
        drop(blocker);
    };
    tokio::join!(async { waiting.await.unwrap() }, unblock);
    // Counted at five seconds: one is left in its window.
    assert!(limiter.try_acquire(1).is_ok());
    assert!(limiter.try_acquire(1).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_waiter_dropped_while_the_inner_service_is_not_ready_takes_nothing() {
    let limiter = SlidingWindowLimiter::new(Quota::per_second(1));
    let inner = ConcurrencyLimit::new(probe(), 1);
    let mut blocker = inner.clone();
    let mut service = SlidingWindowLayer::from(limiter.clone()).layer(inner);
    start(&mut service, ()).await.end().await.unwrap();
    let waiting = service.ready().await.unwrap().call(());
    drop(service);
    blocker.ready().await.unwrap();
    // Due, at the head of the queue, and waiting for the inner service.
    assert!(timeout(ms(1_500), waiting).await.is_err());
    assert_eq!(limiter.waiting(), 0);
    assert!(limiter.try_acquire(1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_fails_to_become_ready_says_so_and_takes_nothing() {
    #[derive(Clone, Debug)]
    struct NeverReady(bool);
    impl Service<()> for NeverReady {
        type Response = ();
        type Error = &'static str;
        type Future = std::future::Ready<Result<(), &'static str>>;
        fn poll_ready(
            &mut self,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Result<(), &'static str>> {
            // Only the first instance is ready.
            std::task::Poll::Ready(if std::mem::take(&mut self.0) {
                Ok(())
            } else {
                Err("closed")
            })
        }
        fn call(&mut self, (): ()) -> Self::Future {
            std::future::ready(Ok(()))
        }
    }
    let limiter = SlidingWindowLimiter::new(Quota::per_second(1));
    let mut service = SlidingWindowLayer::from(limiter.clone()).layer(NeverReady(true));
    assert!(limiter.try_acquire(1).is_ok());
    service.ready().await.unwrap();
    *service.get_mut() = NeverReady(false);
    let error = service.call(()).await.unwrap_err();
    assert_eq!(error.to_string(), "closed");
    assert!(limiter.try_acquire(1).is_ok());
    assert_eq!(service.ready().await.unwrap_err().to_string(), "closed");
}

#[tokio::test(start_paused = true)]
async fn a_reserved_slot_takes_no_wake_up_of_others() {
    let limiter = ConcurrencyLimiter::new(2);
    let [first, second] = [(); 2].map(|()| limiter.try_acquire().unwrap());
    let inner = ConcurrencyLimit::new(probe(), 1);
    let mut blocker = inner.clone();
    let layer = ConcurrencyLayer::from(limiter.clone()).until_response();
    let mut service = layer.layer(inner);

    // It takes the first slot, and waits for the inner service.
    let reserved = tokio::spawn(start(&mut service, ()).await.end());
    blocker.ready().await.unwrap();
    drop(first);
    tokio::task::yield_now().await;
    assert_eq!((limiter.in_flight(), limiter.waiting()), (2, 0));

    let waiting = limiter.clone();
    let waiting = tokio::spawn(async move { waiting.acquire().await });
    tokio::task::yield_now().await;
    assert_eq!(limiter.waiting(), 1);
    drop(second);
    let acquired = timeout(Duration::from_secs(1), waiting).await;
    assert!(acquired.expect("a lost wake-up").unwrap().is_ok());
    drop(blocker);
    reserved.await.unwrap().unwrap();
}
