//! What may be counted of a caller: a window, what is in flight, and several limits at once.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::advance;
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{
    ConcurrencyLayer, LimitKind, Quota, Reason, Rejected, SlidingWindowLayer, TokenBucketLayer,
    key::ClientKey,
    per_key::{MissingKey, PerKeyLimiter},
    rejection::Problem,
};

use super::{API_KEY, ask, from, hello};
use crate::support::ms;

#[tokio::test(start_paused = true)]
async fn a_window_admits_its_quota_and_then_nothing_until_the_first_is_a_period_old() {
    let layer = SlidingWindowLayer::new(Quota::per_minute(2))
        .per(API_KEY())
        .respond();
    let (_, headers) = ask(&layer, from("ann")).await;
    assert_eq!(headers["ratelimit-policy"], r#""default";q=2;w=60"#);
    assert_eq!(headers["ratelimit"], r#""default";r=1;t=60"#);
    advance(Duration::from_secs(20)).await;
    assert_eq!(ask(&layer, from("ann")).await.0, 200);
    let (status, headers) = ask(&layer, from("ann")).await;
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "40");
    assert_eq!(headers["ratelimit"], r#""default";r=0;t=60"#);
    assert_eq!(ask(&layer, from("bob")).await.0, 200);
    advance(ms(39_999)).await;
    assert_eq!(ask(&layer, from("ann")).await.0, 429);
    advance(ms(1)).await;
    assert_eq!(ask(&layer, from("ann")).await.0, 200);
    assert_eq!(ask(&layer, from("ann")).await.0, 429);
}

#[tokio::test(start_paused = true)]
async fn an_unlimited_quota_writes_no_headers() {
    let bucket = || TokenBucketLayer::new(Quota::UNLIMITED);
    let window = || SlidingWindowLayer::new(Quota::UNLIMITED);
    let request = || from("ann");
    let shared = [
        ask(&bucket().respond(), request()).await,
        ask(&window().respond(), request()).await,
    ];
    let per_key = [
        ask(&bucket().per(API_KEY()).respond(), request()).await,
        ask(&window().per(API_KEY()).respond(), request()).await,
        ask(
            &bucket().per(API_KEY()).and("all", window()).respond(),
            request(),
        )
        .await,
    ];
    for (status, headers) in shared.into_iter().chain(per_key) {
        assert_eq!(status, 200);
        assert!(headers.is_empty(), "{headers:?}");
    }
    let hourly = SlidingWindowLayer::new(Quota::per_hour(12));
    let layer = bucket().per(API_KEY()).and("hour", hourly).respond();
    let (_, headers) = ask(&layer, request()).await;
    assert_eq!(headers["ratelimit-policy"], r#""hour";q=12;w=3600"#);
    assert_eq!(headers["ratelimit"], r#""hour";r=11;t=3600"#);
    for _ in 1..12 {
        assert_eq!(ask(&layer, request()).await.0, 200);
    }
    let (status, headers) = ask(&layer, request()).await;
    assert_eq!(status, 429);
    assert_eq!(headers["ratelimit"], r#""hour";r=0;t=3600"#);
}

#[tokio::test(start_paused = true)]
async fn a_window_of_any_size_is_never_over_and_takes_a_256th_more_at_the_most() {
    for units in [256, 257, 100_000] {
        let limiter = PerKeyLimiter::window(Quota::per_second(units));
        let caller = ClientKey::from("ann");
        assert!(limiter.try_acquire(caller, units).is_ok());
        assert!(
            limiter
                .try_acquire(caller, units + 1)
                .unwrap_err()
                .exceeds_capacity()
        );
        advance(ms(999)).await;
        assert!(limiter.try_acquire(caller, 1).is_err(), "{units}");
        advance(ms(5)).await;
        assert!(limiter.try_acquire(caller, units).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_is_let_go_once_it_is_empty() {
    let limiter = PerKeyLimiter::window(Quota::per_second(5)).max_keys(100);
    for number in 0..100 {
        assert!(limiter.try_acquire(number.into(), 5).is_ok());
    }
    assert_eq!(limiter.keys(), 100);
    advance(Duration::from_secs(1)).await;
    for number in 1_000..1_100 {
        assert!(limiter.try_acquire(number.into(), 5).is_ok(), "{number}");
    }
    assert_eq!(limiter.keys(), 100);
}

#[tokio::test(start_paused = true)]
async fn a_window_keeps_its_starts_when_its_plan_changes() {
    let limiter = PerKeyLimiter::window(Quota::per_minute(10));
    let caller = ClientKey::from("ann");
    assert!(limiter.try_acquire(caller, 8).is_ok());
    limiter.set_limits(Quota::per_minute(4));
    assert!(limiter.try_acquire(caller, 1).is_err());
    assert_eq!(limiter.used(caller), 8);
    limiter.set_limits(Quota::per_minute(10));
    assert!(limiter.try_acquire(caller, 2).is_ok());
    limiter.set_limits(Quota::per_second(10));
    advance(Duration::from_secs(1)).await;
    assert!(limiter.try_acquire(caller, 10).is_ok());
}

#[tokio::test(start_paused = true)]
async fn several_limits_take_all_or_none() {
    let layer = TokenBucketLayer::new(Quota::per_second(2))
        .per(API_KEY())
        .name("second")
        .and("hour", SlidingWindowLayer::new(Quota::per_hour(3)))
        .respond_as(Problem);
    let (_, headers) = ask(&layer, from("ann")).await;
    let told: Vec<_> = headers.get_all("ratelimit").iter().collect();
    assert_eq!(told, [r#""second";r=1;t=1"#, r#""hour";r=2;t=3600"#]);
    assert_eq!(ask(&layer, from("ann")).await.0, 200);
    for _ in 0..5 {
        // RejectedRequest by the bucket, so the hour keeps its last one.
        let (status, headers) = ask(&layer, from("ann")).await;
        assert_eq!(
            (status.as_u16(), headers["retry-after"].to_str().unwrap()),
            (429, "1")
        );
    }
    advance(Duration::from_secs(1)).await;
    assert_eq!(ask(&layer, from("ann")).await.0, 200);
    let refused = layer.layer(hello()).oneshot(from("ann")).await.unwrap();
    assert_eq!(refused.headers()["retry-after"], "3599");
    let rejected: &Rejected = refused.extensions().get().unwrap();
    assert_eq!(rejected.limit(), LimitKind::SlidingWindow);
    let problem: serde_json::Value = serde_json::from_str(refused.body()).unwrap();
    assert_eq!(problem["violated-policies"], serde_json::json!(["hour"]));
    assert_eq!(ask(&layer, from("bob")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn several_limits_have_a_plan_each() {
    let layer = TokenBucketLayer::new(Quota::per_second(1))
        .per(API_KEY())
        .and("hour", SlidingWindowLayer::new(Quota::per_hour(1)))
        .limits_for(|_| (Quota::per_second(5), Quota::per_hour(3)))
        .respond();
    for _ in 0..3 {
        assert_eq!(ask(&layer, from("ann")).await.0, 200);
    }
    assert_eq!(ask(&layer, from("ann")).await.0, 429);
}

#[tokio::test(start_paused = true)]
async fn a_cost_that_one_of_several_never_holds_is_never_admitted() {
    let limiter = PerKeyLimiter::new(Quota::per_second(10))
        .and("hour", SlidingWindowLayer::new(Quota::per_hour(5)));
    assert!(
        limiter
            .try_acquire("ann".into(), 6)
            .unwrap_err()
            .exceeds_capacity()
    );
    assert!(limiter.try_acquire("ann".into(), 5).is_ok());
    assert_eq!(limiter.used("ann".into()), 5);
}

#[tokio::test(start_paused = true)]
async fn what_is_in_flight_is_counted_for_each_caller_to_the_end_of_the_body() {
    let layer = ConcurrencyLayer::new(1).per(API_KEY()).respond();
    let limiter = layer.limiter().clone();
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::<&[u8]>::from(&b"hello"[..])))
    }));
    let first = service.clone().oneshot(from("ann")).await.unwrap();
    assert_eq!(limiter.used(ClientKey::secret("ann")), 1);
    let refused = service.clone().oneshot(from("ann")).await.unwrap();
    assert_eq!(refused.status(), 503);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(!refused.headers().contains_key("ratelimit"));
    let bob = service.clone().oneshot(from("bob")).await.unwrap();
    assert_eq!(bob.status(), 200);
    assert_eq!(limiter.keys(), 2);
    first.into_body().collect().await.unwrap();
    drop(bob);
    assert_eq!(limiter.keys(), 0);
    assert_eq!(service.oneshot(from("ann")).await.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_gives_its_place_back() {
    let layer = ConcurrencyLayer::new(1).until_response().per(API_KEY());
    let limiter = layer.limiter().clone();
    let service = layer.layer(service_fn(async |_: Request<()>| {
        std::future::pending::<()>().await;
        Ok::<_, Infallible>(())
    }));
    let caller = ClientKey::secret("ann");
    let mut call = Box::pin(service.clone().oneshot(from("ann")));
    assert!(futures::poll!(&mut call).is_pending());
    assert_eq!(limiter.used(caller), 1);
    let error = service.oneshot(from("ann")).await.unwrap_err();
    let rejected = error.downcast_ref::<Rejected>().unwrap();
    let max_wait = Duration::ZERO;
    assert_eq!(rejected.reason(), Reason::WaitTooLong { max_wait });
    drop(call);
    assert_eq!((limiter.used(caller), limiter.keys()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn places_may_be_weighed_and_planned() {
    let layer = ConcurrencyLayer::new(0)
        .until_response()
        .per(API_KEY())
        .missing_key(MissingKey::Share)
        .cost(|request: &Request<()>| request.uri().path().len() as u64)
        .limits_for(|_| 3_usize)
        .respond();
    let weighing = |path: &str| {
        let request = Request::get(path).header("x-api-key", "ann");
        request.body(()).unwrap()
    };
    assert_eq!(ask(&layer, weighing("/ab")).await.0, 200);
    assert_eq!(ask(&layer, weighing("/abc")).await.0, 503);
    // Who has no key has the limiter's own plan, which is nothing.
    assert_eq!(ask(&layer, Request::new(())).await.0, 503);
}

#[test]
fn callers_that_come_to_a_full_table_share_places_and_give_them_back() {
    let limiter = PerKeyLimiter::in_flight(1).max_keys(1);
    let first = limiter.try_acquire("first".into(), 1).unwrap();
    let others: Vec<_> = (0..1_000)
        .filter_map(|number| limiter.try_acquire(number.into(), 1).ok())
        .collect();
    assert_eq!(others.len(), 32);
    drop(others);
    let again = (0..1_000).filter_map(|number| limiter.try_acquire(number.into(), 1).ok());
    assert_eq!(again.collect::<Vec<_>>().len(), 32);
    drop(first);
    assert_eq!(limiter.keys(), 0);
}

#[test]
fn a_place_that_outlives_its_plan_is_given_back_all_the_same() {
    let limiter = PerKeyLimiter::in_flight(3);
    let held: Vec<_> = (0..3)
        .map(|_| limiter.try_acquire("ann".into(), 1).unwrap())
        .collect();
    limiter.set_limits(1);
    assert!(limiter.try_acquire("ann".into(), 1).is_err());
    drop(held);
    assert!(limiter.try_acquire("ann".into(), 1).is_ok());
    limiter.set_limits(0);
    let refused = limiter.try_acquire("ann".into(), 1).unwrap_err();
    assert!(refused.exceeds_capacity());
}

#[test]
fn two_new_plans_at_once_leave_one_in_force() {
    for round in 0..200 {
        let limiter = PerKeyLimiter::in_flight(1);
        std::thread::scope(|scope| {
            for plan in [3, 5] {
                let limiter = &limiter;
                scope.spawn(move || limiter.set_limits(plan));
            }
        });
        let plan = limiter.limits();
        for caller in 0..200_u64 {
            let held: Vec<_> = (0..6)
                .filter_map(|_| limiter.try_acquire(caller.into(), 1).ok())
                .collect();
            assert_eq!(held.len(), plan, "round {round}");
        }
    }
}
