//! What the provider refuses.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    Dimension, LimitKind, RateLimits, RetryAfterBackoffLayer, Tokens,
    provider::{
        Accounting, Provider, ProviderLayer, ProviderLimiter, QuotaExhausted, ThrottleReason,
    },
};

use super::{Body, ask, half_and_half, small, used};
use crate::support::ms;

fn refusal(status: u16, headers: &[(&str, &str)], body: &'static str) -> Response<Body> {
    let mut response = Response::builder().status(status);
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Full::new(body.as_bytes())).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_429_pauses_everyone_and_passes_unchanged() {
    let limiter = ProviderLimiter::new(small());
    let layer = ProviderLayer::from(limiter.clone()).estimate(half_and_half);
    let service = layer.layer(service_fn(async |_: Request<_>| {
        let body = r#"{"error":{"code":"rate_limit_exceeded"}}"#;
        Ok::<_, Infallible>(refusal(429, &[("retry-after", "10")], body))
    }));
    let response = service.oneshot(ask("0123456789")).await.unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, r#"{"error":{"code":"rate_limit_exceeded"}}"#);

    // Its tokens came back, and it left.
    assert_eq!((used(&limiter, 0), used(&limiter, 1)), (1, 0));
    assert_eq!(limiter.usage().in_flight, 0);
    let rejected = limiter.try_acquire(Tokens::default()).unwrap_err();
    assert_eq!(rejected.limit(), LimitKind::Pause);
    let wait = rejected.retry_after().unwrap();
    // Never earlier than was asked for.
    assert!(
        wait >= Duration::from_secs(10) && wait <= Duration::from_secs(11),
        "{wait:?}"
    );
    assert!(limiter.usage().paused_for >= Duration::from_secs(10));
    let start = Instant::now();
    drop(limiter.acquire(Tokens::default()).await.unwrap());
    assert!(start.elapsed() >= wait - ms(1));
}

#[tokio::test(start_paused = true)]
async fn those_who_were_paused_do_not_leave_at_one_instant() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(1_000));
    let refused = limiter.try_acquire(Tokens::default()).unwrap();
    let begun = Instant::now();
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                tokio::time::sleep(ms(10)).await;
                drop(limiter.acquire(Tokens::default()).await.unwrap());
                begun.elapsed()
            })
        })
        .collect();
    refused.refuse(ThrottleReason::Rate, Some(Duration::from_secs(1)));
    let mut left = Vec::new();
    for task in waiting {
        left.push(task.await.unwrap());
    }
    left.sort_unstable();
    assert!(left[0] >= Duration::from_secs(1));
    assert!(left[49] <= Duration::from_secs(3));
    left.dedup();
    assert!(left.len() > 25, "{left:?}");
}

#[tokio::test(start_paused = true)]
async fn refusals_of_what_was_under_way_are_one_pause() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(1_000));
    let all: Vec<_> = (0..20)
        .map(|_| limiter.try_acquire(Tokens::default()).unwrap())
        .collect();
    for reservation in all {
        tokio::time::sleep(ms(1)).await;
        // No word of how long: a guess, and the guesses do not grow by being many at once.
        reservation.refuse(ThrottleReason::Rate, None);
    }
    let paused = limiter.usage().paused_for;
    assert!(paused > ms(400) && paused < ms(600), "{paused:?}");
    tokio::time::sleep(paused).await;
    // The next one that is refused makes it longer.
    limiter
        .acquire(Tokens::default())
        .await
        .unwrap()
        .refuse(ThrottleReason::Rate, None);
    let paused = limiter.usage().paused_for;
    assert!(paused >= ms(1_000) && paused <= ms(1_100), "{paused:?}");
}

#[tokio::test(start_paused = true)]
async fn an_absurd_pause_is_cut_short() {
    let limiter = ProviderLimiter::new(small());
    let reservation = limiter.try_acquire(Tokens::default()).unwrap();
    reservation.refuse(ThrottleReason::Rate, Some(Duration::MAX));
    assert!(limiter.usage().paused_for <= Duration::from_secs(660));
}

#[tokio::test(start_paused = true)]
async fn money_is_an_error_of_its_own_and_never_repeated() {
    const BODY: &str = r#"{"error":{"message":"You exceeded your current quota","type":"insufficient_quota","code":"insufficient_quota"}}"#;
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let limiter = ProviderLimiter::new(small());
    let service = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
        .layer(ProviderLayer::from(limiter.clone()).estimate(half_and_half))
        .service(service_fn(async |_: Request<_>| {
            CALLS.fetch_add(1, Ordering::Relaxed);
            Ok::<_, Infallible>(refusal(429, &[("retry-after", "1")], BODY))
        }));
    let error = service.oneshot(ask("0123456789")).await.unwrap_err();
    let exhausted = error.downcast_ref::<QuotaExhausted>().unwrap();
    assert_eq!(exhausted.class(), ThrottleReason::QuotaExhausted);
    assert_eq!(exhausted.code(), Some("insufficient_quota"));
    assert_eq!(exhausted.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        error.to_string(),
        "provider quota exhausted: insufficient funds (429 insufficient_quota): You exceeded your current quota"
    );
    assert_eq!(CALLS.load(Ordering::Relaxed), 1);
    // Somebody may have paid by now: the next one is asked for.
    assert_eq!(limiter.usage().paused_for, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn money_in_any_words_is_an_error_of_its_own() {
    for (status, body, class) in [
        (
            429,
            r#"{"error":{"code":"1113","message":"Insufficient balance or no resource package"}}"#,
            ThrottleReason::QuotaExhausted,
        ),
        (
            400,
            r#"{"error":{"type":"invalid_request_error","message":"Your credit balance is too low"}}"#,
            ThrottleReason::QuotaExhausted,
        ),
        (
            500,
            r#"{"type":"error","error":{"message":"insufficient balance (1008)"}}"#,
            ThrottleReason::QuotaExhausted,
        ),
        (
            403,
            r#"{"code":"m","error":"Your team has used all available credits."}"#,
            ThrottleReason::QuotaExhausted,
        ),
        (
            413,
            r#"{"error":{"message":"Request too large for model `m`","code":"rate_limit_exceeded"}}"#,
            ThrottleReason::TooLarge,
        ),
    ] {
        let calls = AtomicUsize::new(0);
        let limiter = ProviderLimiter::new(small());
        let service = ServiceBuilder::new()
            .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
            .layer(ProviderLayer::from(limiter.clone()).estimate(half_and_half))
            .service(service_fn(|_: Request<_>| {
                calls.fetch_add(1, Ordering::Relaxed);
                std::future::ready(Ok::<_, Infallible>(refusal(status, &[], body)))
            }));
        let error = service.oneshot(ask("0123456789")).await.unwrap_err();
        assert_eq!(QuotaExhausted::of(&error).unwrap().class(), class, "{body}");
        assert_eq!(calls.load(Ordering::Relaxed), 1, "{body}");
        assert_eq!(limiter.usage().paused_for, Duration::ZERO, "{body}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_a_day_is_a_daily_quota() {
    let layer = ProviderLayer::new(small()).estimate(half_and_half);
    let service = layer.layer(service_fn(async |_: Request<_>| {
        Ok::<_, Infallible>(refusal(429, &[("retry-after", "86400")], "{}"))
    }));
    let error = service.oneshot(ask("0123456789")).await.unwrap_err();
    let exhausted = QuotaExhausted::of(&error).unwrap();
    assert_eq!(exhausted.class(), ThrottleReason::Day);
    let day = Duration::from_secs(86_400);
    assert_eq!(exhausted.retry_after(), Some(day));
}

#[tokio::test(start_paused = true)]
async fn too_many_in_flight_lowers_that_limit_and_pauses_nobody() {
    let limiter = ProviderLimiter::new(Provider::new("p").concurrent(10));
    let mut held: Vec<_> = (0..10)
        .map(|_| limiter.try_acquire(Tokens::default()).unwrap())
        .collect();
    for reservation in held.split_off(7) {
        reservation.refuse(ThrottleReason::Concurrency, None);
    }
    assert_eq!(limiter.usage().paused_for, Duration::ZERO);
    let flight = *limiter.usage().limits().last().unwrap();
    assert_eq!(
        (flight.dimension, flight.limit),
        (Dimension::Concurrency, 7)
    );
    assert!(limiter.try_acquire(Tokens::default()).is_err());
    held.pop();
    assert!(limiter.try_acquire(Tokens::default()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_overloaded_provider_changes_no_quota() {
    let limiter = ProviderLimiter::new(small());
    let layer = ProviderLayer::from(limiter.clone()).estimate(half_and_half);
    let service = layer.layer(service_fn(async |_: Request<_>| {
        Ok::<_, Infallible>(refusal(529, &[("retry-after", "10")], ""))
    }));
    let response = service.oneshot(ask("0123456789")).await.unwrap();
    assert_eq!(response.status().as_u16(), 529);
    assert_eq!(limiter.usage().paused_for, Duration::ZERO);
    assert_eq!(used(&limiter, 1), 0);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_never_ends_is_passed_on_unread() {
    let limiter = ProviderLimiter::new(small());
    let layer = ProviderLayer::from(limiter.clone()).estimate(half_and_half);
    for (endless, most) in [(true, Duration::ZERO), (false, Duration::from_secs(5))] {
        let mut service = layer.layer(service_fn(move |_: Request<_>| {
            let chunk = || Ok::<_, Infallible>(Frame::data(Bytes::from_static(&[b'x'; 1_000])));
            let first = stream::iter([chunk()]);
            let body = if endless {
                first.chain(stream::repeat_with(chunk)).boxed()
            } else {
                first.chain(stream::pending()).boxed()
            };
            let response = Response::builder().status(429).header("retry-after", "1");
            std::future::ready(Ok::<_, Infallible>(
                response.body(StreamBody::new(body)).unwrap(),
            ))
        }));
        let start = Instant::now();
        let call = service.ready().await.unwrap().call(ask("0123456789"));
        let response = call.await.unwrap();
        // Its own wait in the queue is for the pause of the one before it.
        assert!(start.elapsed() <= most + Duration::from_secs(2));
        assert_eq!(limiter.usage().in_flight, 0);
        // Every frame that was read is still there.
        let mut body = response.into_body();
        for _ in 0..if endless { 50 } else { 1 } {
            let frame = body.frame().await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), vec![b'x'; 1_000]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_has_ended_is_not_asked_again() {
    let layer = ProviderLayer::new(small()).estimate(half_and_half);
    let service = layer.layer(service_fn(async |_: Request<_>| {
        // Panics if it is polled after its end, as it may.
        let body = stream::unfold(0, async |n| {
            (n < 2).then(|| {
                (
                    Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))),
                    n + 1,
                )
            })
        });
        let response = Response::builder().status(429);
        Ok::<_, Infallible>(response.body(StreamBody::new(Box::pin(body))).unwrap())
    }));
    let response = service.oneshot(ask("0123456789")).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "xx");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_dropped_while_it_is_read_is_one_all_the_same() {
    let limiter = ProviderLimiter::new(small());
    let layer = ProviderLayer::from(limiter.clone()).estimate(half_and_half);
    let service = layer.layer(service_fn(async |_: Request<_>| {
        let body = StreamBody::new(stream::pending::<Result<Frame<Bytes>, Infallible>>());
        let response = Response::builder().status(429).header("retry-after", "10");
        Ok::<_, Infallible>(response.body(body).unwrap())
    }));
    let call = service.oneshot(ask("0123456789"));
    assert!(tokio::time::timeout(ms(100), call).await.is_err());
    assert_eq!((used(&limiter, 1), limiter.usage().in_flight), (0, 0));
    assert!(limiter.usage().paused_for > Duration::from_secs(9));
}

#[test]
fn a_refusal_at_hand_needs_no_timer() {
    let layer = ProviderLayer::new(small()).estimate(half_and_half);
    let service = layer.layer(service_fn(async |_: Request<_>| {
        Ok::<_, Infallible>(refusal(429, &[("retry-after", "10")], "{}"))
    }));
    // Outside of tokio, as an admitted request may be.
    let response = futures::executor::block_on(service.oneshot(ask("0123456789"))).unwrap();
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test(start_paused = true)]
async fn a_403_that_speaks_of_no_limit_is_an_error_like_any_other() {
    for (accounting, tokens) in [(Accounting::OPENAI, 10), (Accounting::SETTLED, 0)] {
        let limiter = ProviderLimiter::new(small().counting(accounting));
        let layer = ProviderLayer::from(limiter.clone()).estimate(half_and_half);
        let service = layer.layer(service_fn(async |_: Request<_>| {
            let body = r#"{"error":{"code":"country_not_supported"}}"#;
            Ok::<_, Infallible>(refusal(403, &[], body))
        }));
        let response = service.oneshot(ask("0123456789")).await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN);
        drop(response);
        assert_eq!((used(&limiter, 0), used(&limiter, 1)), (1, tokens));
        assert_eq!(limiter.usage().paused_for, Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_ramp_four_start_a_second_however_few_wait() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(1_000));
    let refused = limiter.try_acquire(Tokens::default()).unwrap();
    refused.refuse(ThrottleReason::Ramp, Some(Duration::from_secs(1)));
    drop(limiter.acquire(Tokens::default()).await.unwrap());
    let start = Instant::now();
    for _ in 0..40 {
        drop(limiter.acquire(Tokens::default()).await.unwrap());
    }
    let elapsed = start.elapsed();
    assert!(elapsed > Duration::from_secs(6), "{elapsed:?}");
    assert!(elapsed < Duration::from_secs(14), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_those_who_leave_are_spread() {
    // By chance: a hundred limiters, a hundred seeds.
    for _ in 0..100 {
        let limiter = ProviderLimiter::new(Provider::new("p").rpm(1_000));
        let refused = limiter.try_acquire(Tokens::default()).unwrap();
        refused.refuse(ThrottleReason::Rate, Some(Duration::from_secs(10)));
        let start = Instant::now();
        tokio::time::sleep(limiter.usage().paused_for).await;
        for _ in 0..3 {
            drop(limiter.acquire(Tokens::default()).await.unwrap());
        }
        let most = Duration::from_secs(11 + 2) + ms(5);
        assert!(start.elapsed() <= most, "{:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_longest_pause_one_finds_out() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(1_000));
    let refused = limiter.try_acquire(Tokens::default()).unwrap();
    refused.refuse(ThrottleReason::Day, Some(Duration::from_secs(8 * 60 * 60)));
    let waiting: Vec<_> = (0..50)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                let reservation = limiter.acquire(Tokens::default()).await.unwrap();
                // The answer takes a second.
                tokio::time::sleep(ms(1_000)).await;
                reservation.refuse(ThrottleReason::Day, Some(Duration::from_secs(7 * 60 * 60)));
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_secs(15 * 60)).await;
    let usage = limiter.usage();
    assert_eq!(usage.waiting, 49);
    waiting.into_iter().for_each(|task| task.abort());
}

#[tokio::test(start_paused = true)]
async fn when_the_one_that_finds_out_is_let_in_the_others_follow() {
    for answers in [true, false] {
        let limiter = ProviderLimiter::new(Provider::new("p").rpm(1_000));
        let refused = limiter.try_acquire(Tokens::default()).unwrap();
        refused.refuse(ThrottleReason::Rate, Some(Duration::MAX));
        let first = limiter.acquire(Tokens::default()).await.unwrap();
        let start = Instant::now();
        if answers {
            first.observe(&RateLimits::default());
        }
        drop(limiter.acquire(Tokens::default()).await.unwrap());
        assert_eq!(start.elapsed() >= Duration::from_secs(5), !answers);
        for _ in 0..20 {
            drop(limiter.acquire(Tokens::default()).await.unwrap());
        }
        // The spread of any pause goes on after that.
        assert!(start.elapsed() <= ms(7_100), "{:?}", start.elapsed());
        assert_eq!(limiter.usage().waiting, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn too_many_in_flight_once_is_not_for_ever() {
    let limiter = ProviderLimiter::new(Provider::new("p").concurrent(10));
    let first = limiter.try_acquire(Tokens::default()).unwrap();
    // Somebody else on the key has all of them.
    first.refuse(ThrottleReason::Concurrency, None);
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(61)).await;
        let held: Vec<_> =
            std::iter::from_fn(|| limiter.try_acquire(Tokens::default()).ok()).collect();
        for reservation in held {
            reservation.observe(&RateLimits::default());
        }
    }
    let flight = *limiter.usage().limits().last().unwrap();
    assert_eq!(flight.limit, 10);
}
