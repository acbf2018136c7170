//! What the limit learns from, and what not.

use std::{convert::Infallible, io, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, future::join_all, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tokio::time::{advance, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, ConcurrencyLayer, ConcurrencyLimiter, TimeoutLayer,
    concurrency::{Adaptive, Latency},
};

use crate::support::{call, ms, poll_once, probe};

const HOUR: Duration = Duration::from_secs(3_600);

/// Uses the whole limit for a while, with answers that take so long.
async fn answered(limiter: &ConcurrencyLimiter, rounds: usize, took: Duration) {
    for _ in 0..rounds {
        let mut permits: Vec<_> = std::iter::from_fn(|| limiter.try_acquire().ok())
            .take(10_000)
            .collect();
        advance(took).await;
        for permit in &mut permits {
            permit.succeeded();
        }
    }
}

async fn overloaded(limiter: &ConcurrencyLimiter, rounds: usize) {
    for _ in 0..rounds {
        let mut permit = limiter.acquire().await.unwrap();
        advance(ms(20)).await;
        permit.overloaded();
    }
}

fn both() -> [Adaptive; 2] {
    [Adaptive::gradient(), Adaptive::aimd(ms(200))]
}

#[tokio::test(start_paused = true)]
async fn the_limit_stays_within_its_bounds_and_is_never_0() {
    for adaptive in both() {
        let limiter = ConcurrencyLimiter::adaptive(adaptive.min(5).max(60));
        answered(&limiter, 300, ms(100)).await;
        assert_eq!(limiter.limit(), 60);
        overloaded(&limiter, 300).await;
        assert_eq!(limiter.limit(), 5);

        let limiter = ConcurrencyLimiter::adaptive(adaptive.min(0).initial(0));
        assert_eq!(limiter.limit(), 1);
        overloaded(&limiter, 300).await;
        assert_eq!(limiter.limit(), 1);
        assert!(limiter.try_acquire().is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn settings_that_make_no_sense_do_no_harm() {
    let senseless = [
        Adaptive::aimd(Duration::ZERO),
        Adaptive::aimd(Duration::MAX)
            .min(usize::MAX)
            .initial(usize::MAX),
        Adaptive::gradient().max(0).min(0).initial(usize::MAX),
        Adaptive::gradient().min(9).max(3),
        Adaptive::gradient().tolerance(f64::NAN).backoff(f64::NAN),
        Adaptive::gradient().tolerance(-1.0).backoff(f64::INFINITY),
        Adaptive::gradient().tolerance(f64::INFINITY).backoff(-0.0),
    ];
    for adaptive in senseless {
        let limiter = ConcurrencyLimiter::adaptive(adaptive);
        for took in [0, 1, 1_000_000_000_000] {
            let mut permits: Vec<_> = (0..30).filter_map(|_| limiter.try_acquire().ok()).collect();
            advance(ms(took)).await;
            permits.iter_mut().for_each(|permit| permit.succeeded());
        }
        overloaded(&limiter, 30).await;
        assert!(limiter.limit() >= 1, "{adaptive:?}");
        assert!(limiter.try_acquire().is_ok(), "{adaptive:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn after_nothing_but_failures_the_limit_recovers() {
    for adaptive in both() {
        let limiter = ConcurrencyLimiter::adaptive(adaptive.max(40));
        answered(&limiter, 50, ms(100)).await;
        assert_eq!(limiter.limit(), 40);
        overloaded(&limiter, 1_000).await;
        assert_eq!(limiter.limit(), 1);
        answered(&limiter, 200, ms(100)).await;
        assert_eq!(limiter.limit(), 40, "{adaptive:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_now_and_then_does_not_take_an_unused_limit_down_for_good() {
    for adaptive in both() {
        let limiter = ConcurrencyLimiter::adaptive(adaptive.initial(50));
        for _ in 0..50 {
            overloaded(&limiter, 1).await;
            assert!(limiter.limit() >= 45);
            for _ in 0..100 {
                let mut permit = limiter.acquire().await.unwrap();
                advance(ms(20)).await;
                permit.succeeded();
            }
            assert_eq!(limiter.limit(), 50);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn many_failures_at_once_are_one_step_and_not_many() {
    for adaptive in both() {
        let limiter = ConcurrencyLimiter::adaptive(adaptive.initial(100));
        let mut permits: Vec<_> = (0..100).map(|_| limiter.try_acquire().unwrap()).collect();
        advance(ms(50)).await;
        permits.iter_mut().for_each(|permit| permit.overloaded());
        assert_eq!(limiter.limit(), 90);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_of_the_other_side_lowers_the_limit_and_other_failures_do_not() {
    for (status, lowers) in [
        (429, true),
        (503, true),
        (529, true),
        (504, true),
        (522, true),
        (524, true),
        (498, true),
        (520, false),
        (500, false),
        (404, false),
        (200, false),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let service = service_fn(move |_: Request<()>| async move {
            sleep(ms(20)).await;
            let mut response = Response::new(Empty::<Bytes>::new());
            *response.status_mut() = status;
            Ok::<_, Infallible>(response)
        });
        let layer = || ConcurrencyLayer::adaptive(Adaptive::gradient());
        let mut limited = layer().layer(service);
        let mut until_headers = layer().until_headers().layer(service);
        for _ in 0..10 {
            let response = call(&mut limited, Request::new(())).await.unwrap();
            assert_eq!(response.status(), status);
            call(&mut until_headers, Request::new(())).await.unwrap();
        }
        assert_eq!(limited.limiter().limit() < 20, lowers, "{status}");
        assert_eq!(until_headers.limiter().limit() < 20, lowers, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn timeouts_and_broken_connections_lower_the_limit_and_other_errors_do_not() {
    async fn limit_after<S>(service: S) -> usize
    where
        S: Service<Request<()>, Response = Response<Empty<Bytes>>, Error = BoxError> + Clone,
    {
        let mut limited = ConcurrencyLayer::adaptive(Adaptive::gradient()).layer(service);
        for _ in 0..10 {
            call(&mut limited, Request::new(())).await.unwrap_err();
        }
        assert_eq!(limited.limiter().in_flight(), 0);
        limited.limiter().limit()
    }
    let fails = |error: fn() -> BoxError| {
        service_fn(move |_: Request<()>| async move {
            sleep(ms(20)).await;
            Err::<Response<Empty<Bytes>>, BoxError>(error())
        })
    };
    let hangs = service_fn(async |_: Request<()>| {
        std::future::pending::<Result<Response<Empty<Bytes>>, BoxError>>().await
    });
    let hangs = TimeoutLayer::new().attempt(ms(300)).layer(hangs);
    let hangs = hangs.map_response(|response| response.map(|_| Empty::new()));
    assert!(limit_after(hangs).await < 20);
    let refused = || io::Error::from(io::ErrorKind::ConnectionRefused).into();
    assert!(limit_after(fails(refused)).await < 20);
    assert_eq!(limit_after(fails(|| "wrong".into())).await, 20);
    // A refusal by a limit further in says nothing of the other side.
    let ours = || ConcurrencyLimiter::new(0).try_acquire().unwrap_err().into();
    assert_eq!(limit_after(fails(ours)).await, 20);
}

/// Answers within a moment, with a body whose first byte comes after `first`, and whose last after `whole`.
fn streams(
    first: Duration,
    whole: Duration,
) -> impl Service<
    Request<()>,
    Response = Response<impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin>,
    Error = Infallible,
    Future = impl Send,
> + Clone {
    service_fn(move |_: Request<()>| async move {
        let waits = [(ms(0), ""), (first, "first"), (whole - first, "last")];
        let frames = stream::iter(waits).then(async |(wait, text): (Duration, &'static str)| {
            sleep(wait).await;
            Ok::<_, Infallible>(Frame::data(Bytes::from(text)))
        });
        sleep(ms(10)).await;
        Ok::<_, Infallible>(Response::new(StreamBody::new(Box::pin(frames))))
    })
}

/// The limit after streams that use all of it.
async fn after_streams(adaptive: Adaptive, first: Duration, whole: Duration) -> usize {
    let limited = ConcurrencyLayer::adaptive(adaptive.initial(30)).layer(streams(first, whole));
    for _ in 0..30 {
        let calls = (0..limited.limiter().limit()).map(|_| async {
            let response = limited.clone().oneshot(Request::new(())).await.unwrap();
            response.into_body().collect().await.unwrap();
        });
        join_all(calls).await;
        assert_eq!(limited.limiter().in_flight(), 0);
    }
    limited.limiter().limit()
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_as_slow_as_its_first_byte_unless_told() {
    let (fast, minute) = (ms(50), Duration::from_secs(60));
    let adaptive = Adaptive::aimd(ms(100));
    assert!(after_streams(adaptive, fast, minute).await > 60);
    let headers = adaptive.measure(Latency::Headers);
    assert!(after_streams(headers, fast, minute).await > 60);
    let end = adaptive.measure(Latency::End);
    assert!(after_streams(end, fast, minute).await < 20);
    // The headers come at once, and the first byte is late: an empty frame is no byte.
    assert!(after_streams(adaptive, ms(500), minute).await < 20);
    assert!(after_streams(headers, ms(500), minute).await > 60);
    assert!(
        after_streams(end, ms(20), ms(50)).await > 60,
        "no stream at all"
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_counts_as_well() {
    let service = service_fn(|_: Request<()>| async {
        sleep(ms(20)).await;
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    });
    let adaptive = Adaptive::aimd(ms(100)).initial(1);
    let limited = ConcurrencyLayer::adaptive(adaptive).layer(service);
    for _ in 0..100 {
        limited.clone().oneshot(Request::new(())).await.unwrap();
    }
    assert!(limited.limiter().limit() > 1);
}

#[tokio::test(start_paused = true)]
async fn requests_that_are_dropped_early_say_nothing_and_those_dropped_late_say_that_it_is_slow() {
    for adaptive in both() {
        let limiter = ConcurrencyLimiter::adaptive(adaptive.max(30));
        answered(&limiter, 50, ms(100)).await;
        assert_eq!(limiter.limit(), 30);
        let hangs = service_fn(async |_: Request<()>| {
            std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>().await
        });
        let limited = ConcurrencyLayer::from(limiter.clone()).layer(hangs);
        let storm = |patience: Duration| {
            let calls =
                (0..30).map(|_| timeout(patience, limited.clone().oneshot(Request::new(()))));
            join_all(calls.collect::<Vec<_>>())
        };
        for _ in 0..100 {
            storm(ms(30)).await;
        }
        assert_eq!((limiter.limit(), limiter.in_flight()), (30, 0));
        let mut lowest = limiter.limit();
        for _ in 0..20 {
            storm(ms(1_000)).await;
            lowest = lowest.min(limiter.limit());
        }
        assert!(lowest < 20, "{lowest}");
        assert_eq!(limiter.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_permit_that_is_dropped_without_a_word_says_nothing() {
    for adaptive in both() {
        let limiter = ConcurrencyLimiter::adaptive(adaptive.max(30));
        answered(&limiter, 50, ms(100)).await;
        for _ in 0..100 {
            let permits: Vec<_> = std::iter::from_fn(|| limiter.try_acquire().ok()).collect();
            advance(ms(1_000)).await;
            drop(permits);
        }
        assert_eq!((limiter.limit(), limiter.in_flight()), (30, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_hour_without_requests_a_burst_meets_the_limit_that_was() {
    for adaptive in both() {
        let limiter = ConcurrencyLimiter::adaptive(adaptive.max(30));
        answered(&limiter, 50, ms(100)).await;
        advance(HOUR).await;
        assert_eq!(limiter.limit(), 30);
        let burst: Vec<_> = (0..100)
            .filter_map(|_| limiter.try_acquire().ok())
            .collect();
        assert_eq!(burst.len(), 30);
        drop(burst);
        answered(&limiter, 50, ms(100)).await;
        assert_eq!(limiter.limit(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_leaps_moves_the_limit_by_no_more_than_a_step() {
    for adaptive in both() {
        let limiter = ConcurrencyLimiter::adaptive(adaptive.max(30));
        answered(&limiter, 50, ms(100)).await;
        let mut permits: Vec<_> = (0..30).map(|_| limiter.try_acquire().unwrap()).collect();
        advance(HOUR * 24 * 365).await;
        permits.iter_mut().for_each(|permit| permit.succeeded());
        drop(permits);
        assert!(limiter.limit() >= 15, "{}", limiter.limit());
        answered(&limiter, 100, ms(100)).await;
        assert_eq!(limiter.limit(), 30);
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_rises_lets_those_who_wait_start() {
    let limiter = ConcurrencyLimiter::adaptive(Adaptive::aimd(ms(200)).initial(10));
    for _ in 0..40 {
        let mut permits: Vec<_> = std::iter::from_fn(|| limiter.try_acquire().ok()).collect();
        let limit = limiter.limit();
        let mut waits = Box::pin(limiter.acquire());
        assert!(poll_once(waits.as_mut()).await.is_none());
        advance(ms(20)).await;
        permits.iter_mut().for_each(|permit| permit.succeeded());
        if limiter.limit() > limit {
            assert_eq!(limiter.waiting(), 1);
            assert!(waits.await.is_ok(), "nothing has ended yet");
            return;
        }
    }
    panic!("it never rose");
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_set_by_hand_goes_on_from_there() {
    let limiter = ConcurrencyLimiter::adaptive(Adaptive::gradient().max(60));
    limiter.set_limit(0);
    assert_eq!(limiter.limit(), 1);
    limiter.set_limit(usize::MAX);
    assert_eq!(limiter.limit(), 60);
    limiter.set_limit(30);
    assert_eq!(limiter.limit(), 30);
    answered(&limiter, 100, ms(100)).await;
    assert_eq!(limiter.limit(), 60);
}

#[tokio::test(start_paused = true)]
async fn the_queue_in_front_is_bounded() {
    let layer = ConcurrencyLayer::adaptive(Adaptive::gradient().initial(1).max(1))
        .max_waiting(1)
        .max_wait(ms(100))
        .until_response();
    let limiter = layer.limiter().clone();
    let service = layer.layer(probe());
    let held = limiter.try_acquire().unwrap();
    let mut first = Box::pin(service.clone().oneshot(()));
    assert!(poll_once(first.as_mut()).await.is_none());
    assert!(service.clone().oneshot(()).await.is_err());
    assert!(first.await.is_err());
    drop(held);
}
