//! The two faces of a refusal.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response, StatusCode};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{ConcurrencyLayer, Quota, Rejected, SlidingWindowLayer, TokenBucketLayer};

use crate::support::{call, ms, start};

async fn hello(_: Request<()>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello".into()))
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_a_429_with_a_retry_after_that_is_rounded_up_and_true() {
    let layer = TokenBucketLayer::new(Quota::new(10, ms(23_000))).respond();
    let mut server = layer.layer(service_fn(hello));
    for _ in 0..10 {
        let answer: Result<_, Infallible> = call(&mut server, Request::new(())).await;
        assert_eq!(answer.unwrap().status(), StatusCode::OK);
    }
    let refused = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    // 2.3 seconds, rounded up.
    assert_eq!(refused.headers()["retry-after"], "3");
    let rejected: &Rejected = refused.extensions().get().unwrap();
    assert_eq!(rejected.retry_after(), Some(ms(2_300)));
    advance(Duration::from_secs(3)).await;
    let admitted = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(admitted.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_never_zero() {
    let layer = SlidingWindowLayer::new(Quota::new(1, ms(2))).respond();
    let mut server = layer.layer(service_fn(hello));
    call(&mut server, Request::new(())).await.unwrap();
    let refused = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "1");
}

#[tokio::test(start_paused = true)]
async fn what_never_fits_is_told_no_retry_after() {
    let layer = TokenBucketLayer::new(Quota::per_second(3))
        .cost(|_: &Request<()>| 4)
        .respond();
    let refused = layer
        .layer(service_fn(hello))
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(!refused.headers().contains_key("retry-after"));
}

#[tokio::test(start_paused = true)]
async fn concurrency_answers_503() {
    let layer = ConcurrencyLayer::new(1).respond();
    let mut server = layer.layer(service_fn(hello));
    let held = call(&mut server, Request::new(())).await.unwrap();
    let refused = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    drop(held);
    let answer = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_responding_limit_waits_when_told_to() {
    let layer = TokenBucketLayer::new(Quota::per_second(1))
        .respond()
        .max_wait(ms(1_500));
    let mut server = layer.layer(service_fn(hello));
    call(&mut server, Request::new(())).await.unwrap();
    let waiting = start(&mut server, Request::new(())).await;
    assert!(waiting.waits());
    let refused = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "2");
    assert_eq!(waiting.end().await.unwrap().status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn the_answer_can_be_the_users_own() {
    let layer = ConcurrencyLayer::new(0)
        .respond_with(|rejected| Response::new(format!("sorry: {rejected}")));
    let refused = layer
        .layer(service_fn(hello))
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(
        refused.body().get_ref(),
        "sorry: rejected by the concurrency limit: a cost of 1 exceeds the capacity of 0: lower the cost or raise the limit"
    );
}

#[tokio::test(start_paused = true)]
async fn inner_errors_pass_unchanged_through_either_face() {
    #[derive(Debug, PartialEq)]
    struct Inner;
    impl std::fmt::Display for Inner {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("inner")
        }
    }
    impl std::error::Error for Inner {}
    async fn broken(_: Request<()>) -> Result<Response<String>, Inner> {
        Err(Inner)
    }
    let broken = service_fn(broken);
    let responding = TokenBucketLayer::new(Quota::per_second(9))
        .respond()
        .layer(broken);
    assert_eq!(
        responding.oneshot(Request::new(())).await.unwrap_err(),
        Inner
    );
    let failing = TokenBucketLayer::new(Quota::per_second(9)).layer(broken);
    let error = failing.oneshot(Request::new(())).await.unwrap_err();
    assert!(error.is::<Inner>());
}
