//! What looks like the other side's load, or like its ease, and is neither.

use std::{
    convert::Infallible,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use tokio::time::sleep;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    ConcurrencyLayer, ConcurrencyLimiter, Quota, TokenBucketLayer,
    concurrency::{Adaptive, Latency, Priority},
};

use crate::support::{call, ms};

type Answer = Response<Full<Bytes>>;

/// A service that answers after `took`, with what `answer` makes of an empty answer.
fn answers(
    took: Duration,
    answer: impl Fn(&mut Answer) + Copy + Send,
) -> impl Service<Request<()>, Response = Answer, Error = Infallible, Future = impl Send> + Clone {
    service_fn(move |_: Request<()>| async move {
        sleep(took).await;
        let mut response = Response::new(Full::from("an answer"));
        answer(&mut response);
        Ok(response)
    })
}

/// The limit after many requests that use all of it, and read the whole answer after `idle`.
async fn limit_after<S>(limiter: &ConcurrencyLimiter, service: S, idle: Duration) -> usize
where
    S: Service<Request<()>, Response = Answer, Error = Infallible> + Clone,
{
    let limited = ConcurrencyLayer::from(limiter.clone()).layer(service);
    for _ in 0..30 {
        let calls = (0..limiter.limit()).map(|_| async {
            let response = limited.clone().oneshot(Request::new(())).await.unwrap();
            sleep(idle).await;
            response.into_body().collect().await.unwrap();
        });
        join_all(calls).await;
    }
    limiter.limit()
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_the_callers_are_no_answers() {
    for status in [400, 401, 404, 422, 500] {
        let status = StatusCode::from_u16(status).unwrap();
        let fails = answers(ms(20), move |response| *response.status_mut() = status);
        let limiter = ConcurrencyLimiter::adaptive(Adaptive::aimd(ms(100)));
        let limit = limit_after(&limiter, fails, ms(0)).await;
        assert_eq!(limit, 20, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_a_limit_further_in_is_not_that_of_the_other_side_though_it_is_a_response() {
    let adaptive = ConcurrencyLayer::adaptive(Adaptive::gradient()).respond();
    let limiter = adaptive.limiter().clone();
    let mut server = ServiceBuilder::new()
        .layer(adaptive)
        .layer(TokenBucketLayer::new(Quota::per_hour(1)).respond())
        .service(answers(ms(0), |_| {}));
    let mut refused = 0;
    for _ in 0..200 {
        sleep(ms(20)).await;
        let response = call(&mut server, Request::new(())).await.unwrap();
        refused += usize::from(response.status() == StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!((refused, limiter.limit()), (199, 20));
}

#[tokio::test(start_paused = true)]
async fn a_grpc_status_is_what_it_says_though_http_says_200() {
    let after = async |answer: fn(&mut Answer)| {
        let limiter = ConcurrencyLimiter::adaptive(Adaptive::aimd(ms(100)));
        limit_after(&limiter, answers(ms(20), answer), ms(0)).await
    };
    let ok = |response: &mut Answer| {
        let _ = response.headers_mut().insert("grpc-status", 0.into());
    };
    let invalid = |response: &mut Answer| {
        let _ = response.headers_mut().insert("grpc-status", 3.into());
    };
    let exhausted = |response: &mut Answer| {
        let _ = response.headers_mut().insert("grpc-status", 8.into());
    };
    let unavailable = |response: &mut Answer| {
        let _ = response.headers_mut().insert("grpc-status", 14.into());
    };
    assert!(after(ok).await > 20);
    assert_eq!(after(invalid).await, 20);
    assert!(after(exhausted).await < 20);
    assert!(after(unavailable).await < 20);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_lies_unread_is_no_slower_for_it() {
    for measure in [Latency::FirstByte, Latency::End] {
        let limiter =
            ConcurrencyLimiter::adaptive(Adaptive::aimd(ms(100)).measure(measure).max(60));
        let limit = limit_after(&limiter, answers(ms(20), |_| {}), ms(1_000)).await;
        assert_eq!(limit, 60);
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_dropped_unread_says_nothing_however_late() {
    let layer = ConcurrencyLayer::adaptive(Adaptive::aimd(ms(100)));
    let mut limited = layer.layer(answers(ms(20), |_| {}));
    for _ in 0..300 {
        let response = call(&mut limited, Request::new(())).await.unwrap();
        sleep(ms(1_000)).await;
        drop(response);
    }
    assert_eq!(limited.limiter().limit(), 20);
}

/// Answers within a moment, and is ready only after a while.
struct Slow<S>(S, Option<std::pin::Pin<Box<tokio::time::Sleep>>>);

impl<S: Clone> Clone for Slow<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone(), None)
    }
}

impl<S: Service<Request<()>>> Service<Request<()>> for Slow<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        let wait = self.1.get_or_insert_with(|| Box::pin(sleep(ms(500))));
        std::task::ready!(std::future::Future::poll(wait.as_mut(), cx));
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<()>) -> S::Future {
        self.1 = None;
        self.0.call(request)
    }
}

#[tokio::test(start_paused = true)]
async fn the_time_until_the_inner_service_is_ready_is_no_latency() {
    let layer = ConcurrencyLayer::adaptive(Adaptive::aimd(ms(100)).max(60));
    let limited = layer.layer(Slow(answers(ms(20), |_| {}), None));
    let callers = (0..200).map(|_| async {
        for _ in 0..10 {
            let response = limited.clone().oneshot(Request::new(())).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
    });
    join_all(callers).await;
    assert_eq!(limited.limiter().limit(), 60);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_only_low_priorities_use_rises_and_falls_like_any_other() {
    for priority in [Priority::Low, Priority::Normal, Priority::High] {
        for initial in [1, 4, 7, 20, 33] {
            let adaptive = Adaptive::aimd(ms(100)).initial(initial).max(60);
            let layer = ConcurrencyLayer::adaptive(adaptive)
                .priority(move |_: &Request<()>| priority)
                .max_wait(ms(200));
            let limited = layer.layer(answers(ms(20), |_| {}));
            for _ in 0..60 {
                let calls = (0..100).map(|_| async {
                    if let Ok(response) = limited.clone().oneshot(Request::new(())).await {
                        response.into_body().collect().await.unwrap();
                    }
                });
                join_all(calls).await;
            }
            assert_eq!(limited.limiter().limit(), 60, "{priority:?} from {initial}");
        }
    }
}
