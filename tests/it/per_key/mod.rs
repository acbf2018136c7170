//! Limits by caller, in front of a service that says hello.

mod closing;
mod crossing;
mod full;
mod kinds;
mod peer;
mod settling;
mod waiting;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderMap, Request, Response, StatusCode};
use tokio::time::advance;
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_throttle::{
    Quota, Reason, Rejected, TokenBucketLayer,
    key::{self, ClientKey},
    per_key::{MissingKey, PerKeyLayer, PerKeyLimiter, RateLimitHeaders, ResetFormat},
    rejection::Problem,
};

fn hello()
-> impl Service<Request<()>, Response = Response<String>, Error = Infallible, Future: Send> + Clone
{
    service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::from("hello"))))
}

fn from(name: &str) -> Request<()> {
    Request::get("/")
        .header("x-api-key", name)
        .body(())
        .unwrap()
}

async fn ask<L, B>(layer: &L, request: Request<()>) -> (StatusCode, HeaderMap)
where
    L: Layer<BoxedHello>,
    L::Service: Service<Request<()>, Response = Response<B>, Error = Infallible>,
{
    let hello = tower::util::BoxCloneSyncService::new(hello());
    let response = layer.layer(hello).oneshot(request).await.unwrap();
    (response.status(), response.headers().clone())
}

type BoxedHello = tower::util::BoxCloneSyncService<Request<()>, Response<String>, Infallible>;

const API_KEY: fn() -> key::ApiKey = || key::ApiKey::header("x-api-key");

#[tokio::test(start_paused = true)]
async fn each_caller_has_a_bucket_of_its_own_and_retry_after_is_true_to_the_second() {
    let layer = TokenBucketLayer::new(Quota::per_minute(2))
        .per(API_KEY())
        .respond();
    for caller in ["ann", "bob"] {
        assert_eq!(ask(&layer, from(caller)).await.0, 200);
        assert_eq!(ask(&layer, from(caller)).await.0, 200);
        let (status, headers) = ask(&layer, from(caller)).await;
        assert_eq!(status, 429);
        assert_eq!(headers["retry-after"], "30");
        assert_eq!(headers["ratelimit"], r#""default";r=0;t=60"#);
    }
    advance(Duration::from_secs(29)).await;
    let (status, headers) = ask(&layer, from("ann")).await;
    assert_eq!(
        (status.as_u16(), &headers["retry-after"]),
        (429, &"1".parse().unwrap())
    );
    advance(Duration::from_secs(1)).await;
    assert_eq!(ask(&layer, from("ann")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn admitted_answers_say_what_is_left_in_the_fields_that_were_asked_for() {
    let fields = RateLimitHeaders::default()
        .draft_03(true)
        .x_rate_limit(ResetFormat::Delta);
    let layer = TokenBucketLayer::new(Quota::per_minute(4))
        .per(API_KEY())
        .respond()
        .fields(fields)
        .name("burst");
    let (_, headers) = ask(&layer, from("ann")).await;
    for (name, value) in [
        ("ratelimit-policy", r#""burst";q=4;w=60"#),
        ("ratelimit", r#""burst";r=3;t=15"#),
        ("ratelimit-limit", "4"),
        ("ratelimit-remaining", "3"),
        ("ratelimit-reset", "15"),
        ("x-ratelimit-limit", "4"),
        ("x-ratelimit-remaining", "3"),
        ("x-ratelimit-reset", "15"),
    ] {
        assert_eq!(headers[name], value, "{name}");
    }
    let silent = layer.fields(RateLimitHeaders::NONE);
    assert!(ask(&silent, from("ann")).await.1.is_empty());
}

#[tokio::test(start_paused = true)]
async fn stacked_limits_tell_both_and_the_wait_of_the_one_that_refused() {
    let inner = TokenBucketLayer::new(Quota::per_second(10))
        .per(API_KEY())
        .respond()
        .name("burst");
    let outer = TokenBucketLayer::new(Quota::per_hour(2))
        .per(API_KEY())
        .respond()
        .name("hour");
    let both = (outer, inner);
    let (_, headers) = ask(&both, from("ann")).await;
    let all: Vec<_> = headers
        .get_all("ratelimit")
        .iter()
        .map(|value| value.to_str().unwrap())
        .collect();
    assert_eq!(all.join(", "), r#""burst";r=9;t=1, "hour";r=1;t=1800"#);
    assert_eq!(headers.get_all("ratelimit-policy").iter().count(), 2);
    ask(&both, from("ann")).await;
    let (status, headers) = ask(&both, from("ann")).await;
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "1800");
}

#[tokio::test(start_paused = true)]
async fn a_request_without_its_key_is_what_was_told() {
    let layer = || TokenBucketLayer::new(Quota::per_minute(1)).per(API_KEY());
    let bare = || Request::get("/").body(()).unwrap();

    let shared = layer().missing_key(MissingKey::Share).respond();
    assert_eq!(ask(&shared, bare()).await.0, 200);
    assert_eq!(ask(&shared, bare()).await.0, 429);
    assert_eq!(ask(&shared, from("ann")).await.0, 200);

    let passed = layer().missing_key(MissingKey::Pass).respond();
    for _ in 0..3 {
        assert_eq!(ask(&passed, bare()).await.0, 200);
    }

    let forbidden = MissingKey::RefuseWith(StatusCode::FORBIDDEN);
    let forbidden = layer().missing_key(forbidden).respond_as(Problem);
    assert_eq!(ask(&forbidden, bare()).await.0, 403);

    let refused = layer();
    let (status, headers) = ask(&refused.clone().respond(), bare()).await;
    assert_eq!(status, 401);
    assert!(!headers.contains_key("retry-after"));
    let error = refused.layer(hello()).oneshot(bare()).await.unwrap_err();
    let rejected = error.downcast_ref::<Rejected>().unwrap();
    assert_eq!(rejected.reason(), Reason::MissingKey);
    assert!(rejected.exceeds_capacity());
}

#[tokio::test(start_paused = true)]
async fn plans_and_costs_are_asked_of_each_request_and_a_change_of_plan_keeps_what_was_used() {
    let layer = TokenBucketLayer::new(Quota::per_minute(10))
        .per(API_KEY())
        .cost(|request: &Request<()>| {
            if request.uri().path() == "/report" {
                5
            } else {
                1
            }
        })
        .limits_for(|request| match request.headers().get("x-plan") {
            Some(_) => Quota::per_minute(20),
            None => Quota::per_minute(10),
        })
        .exempt(|request| request.path() == "/health")
        .respond();
    let left = |headers: &HeaderMap| headers["ratelimit"].to_str().unwrap().to_owned();
    let report = Request::get("/report")
        .header("x-api-key", "ann")
        .body(())
        .unwrap();
    let (_, headers) = ask(&layer, report).await;
    assert_eq!(left(&headers), r#""default";r=5;t=30"#);

    let mut pro = from("ann");
    pro.headers_mut().insert("x-plan", "pro".parse().unwrap());
    let (_, headers) = ask(&layer, pro).await;
    assert_eq!(left(&headers), r#""default";r=14;t=18"#);

    let health = Request::get("/health")
        .header("x-api-key", "ann")
        .body(())
        .unwrap();
    let (_, headers) = ask(&layer, health).await;
    assert!(headers.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_new_quota_at_run_time_keeps_what_was_used() {
    let limiter = PerKeyLimiter::new(Quota::per_minute(10));
    assert!(limiter.try_acquire("ann".into(), 8).is_ok());
    limiter.set_limits(Quota::per_minute(5));
    // All of the new quota, and the rest counts once the quota grows.
    let rejected = limiter.try_acquire("ann".into(), 1).unwrap_err();
    assert_eq!(rejected.retry_after(), Some(Duration::from_secs(12)));
    limiter.set_limits(Quota::per_minute(20));
    assert!(limiter.try_acquire("ann".into(), 12).is_ok());
    assert!(limiter.try_acquire("ann".into(), 1).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_shadow_counts_and_reports_and_lets_pass() {
    let told = Arc::new(AtomicUsize::new(0));
    let hook = told.clone();
    let layer = TokenBucketLayer::new(Quota::per_minute(1))
        .per(API_KEY())
        .shadow()
        .respond()
        .on_rejected(move |refused| {
            assert!(refused.passed);
            assert_eq!(refused.key, Some(ClientKey::secret("ann")));
            hook.fetch_add(1, Ordering::Relaxed);
        });
    for _ in 0..3 {
        assert_eq!(ask(&layer, from("ann")).await.0, 200);
    }
    assert_eq!(told.load(Ordering::Relaxed), 2);
    assert_eq!(layer.limiter().rejections(), 2);
    layer.limiter().set_shadow(false);
    assert_eq!(layer.limiter().rejections(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_top_callers_are_those_who_used_the_most() {
    let limiter = PerKeyLimiter::new(Quota::per_minute(100));
    for number in 0..50 {
        assert!(limiter.try_acquire(number.into(), number + 1).is_ok());
    }
    let top: Vec<_> = limiter
        .top(3)
        .iter()
        .map(|usage| (usage.key, usage.used))
        .collect();
    assert_eq!(top, [(49.into(), 50), (48.into(), 49), (47.into(), 48)]);
    assert!(limiter.top(0).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_new_keys_passes_no_bound_and_frees_nobody() {
    let limiter = PerKeyLimiter::new(Quota::per_minute(2)).max_keys(1_000);
    let blocked = ClientKey::from("blocked");
    assert!(limiter.try_acquire(blocked, 2).is_ok());
    let mut admitted = 0;
    for number in 0..100_000 {
        admitted += usize::from(limiter.try_acquire(number.into(), 1).is_ok());
        assert!(limiter.keys() <= 1_000);
        if number % 100 == 0 {
            assert!(limiter.try_acquire(blocked, 1).is_err());
        }
    }
    // One each of those with a place, and two of each of the 32 shared buckets.
    assert_eq!(admitted, 999 + 64);
    // All are idle after a minute: newcomers find places again.
    advance(Duration::from_secs(60)).await;
    for number in 200_000..200_500 {
        assert!(limiter.try_acquire(number.into(), 2).is_ok(), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn idle_callers_are_let_go_though_nobody_new_comes() {
    let limiter = PerKeyLimiter::new(Quota::per_second(1));
    for number in 0..10_000 {
        assert!(limiter.try_acquire(number.into(), 1).is_ok());
    }
    assert_eq!(limiter.keys(), 10_000);
    for _ in 0..2_000 {
        advance(Duration::from_millis(100)).await;
        let _ = limiter.try_acquire(ClientKey::from("the only one"), 1);
    }
    assert_eq!(limiter.keys(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_table_without_places_is_all_newcomers() {
    let limiter = PerKeyLimiter::new(Quota::per_minute(1)).max_keys(0);
    let admitted = (0..1_000).filter(|number| limiter.try_acquire((*number).into(), 1).is_ok());
    assert_eq!(admitted.count(), 32);
    assert_eq!(limiter.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn keys_are_told_apart_and_what_is_no_key_is_none() {
    use tower_throttle::key::Key;

    let with =
        |name: &'static str, value: &str| Request::get("/").header(name, value).body(()).unwrap();
    let bearer = key::ApiKey::bearer();
    assert_eq!(
        bearer.key(&with("authorization", "Bearer t")),
        Some(ClientKey::secret("t"))
    );
    assert_eq!(
        bearer.key(&with("authorization", "bearer  t ")),
        Some(ClientKey::secret("t"))
    );
    for none in ["", "Bearer", "Bearer ", "Basic t", "t"] {
        assert_eq!(bearer.key(&with("authorization", none)), None, "{none}");
    }
    let mut twice = with("x-api-key", "one");
    twice
        .headers_mut()
        .append("x-api-key", "two".parse().unwrap());
    assert_eq!(API_KEY().key(&twice), None);
    assert_eq!(API_KEY().key(&with("x-api-key", "")), None);

    let both = (key::Header::new("x-tenant"), API_KEY());
    let mut request = from("k");
    assert_eq!(both.key(&request), None);
    request
        .headers_mut()
        .insert("x-tenant", "acme".parse().unwrap());
    let acme = both.key(&request).unwrap();
    assert_ne!(Some(acme), key::Header::new("x-tenant").key(&request));

    request.extensions_mut().insert(7_u64);
    assert_eq!(key::Extension::<u64>::new().key(&request), Some(7.into()));
    assert_eq!(key::Extension::<String>::new().key(&request), None);
    assert_eq!(key::Global.key(&request), Some(ClientKey::EVERYONE));
}

#[tokio::test(start_paused = true)]
async fn any_service_can_be_limited_by_what_a_closure_finds() {
    let key = |user: &u64| Some(ClientKey::from(*user));
    let layer = PerKeyLayer::new(PerKeyLimiter::new(Quota::per_minute(1)), key);
    let service = layer.layer(service_fn(async |user: u64| Ok::<_, Infallible>(user + 1)));
    assert_eq!(service.clone().oneshot(1).await.unwrap(), 2);
    assert!(service.clone().oneshot(1).await.is_err());
    assert_eq!(service.oneshot(2).await.unwrap(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_problem_names_the_limit_and_the_wait() {
    let layer = TokenBucketLayer::new(Quota::per_minute(1))
        .per(API_KEY())
        .respond_as(Problem)
        .name("minute");
    let service = layer.layer(hello());
    assert_eq!(
        service.clone().oneshot(from("ann")).await.unwrap().status(),
        200
    );
    let refused = service.oneshot(from("ann")).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(
        refused.headers()["content-type"],
        "application/problem+json"
    );
    assert_eq!(refused.headers()["retry-after"], "60");
    assert_eq!(refused.headers()["ratelimit"], r#""minute";r=0;t=60"#);
    let problem: serde_json::Value = serde_json::from_str(refused.body()).unwrap();
    assert_eq!(problem["status"], 429);
    assert_eq!(problem["violated-policies"][0], "minute");
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_free_is_found_soon_though_few_come_who_are_new() {
    let limiter = PerKeyLimiter::new(Quota::per_second(1)).max_keys(1_000);
    for number in 0..2_000 {
        let _ = limiter.try_acquire(number.into(), 1);
    }
    advance(Duration::from_secs(2)).await;
    // Far fewer a shard than it has idle rows, so that none of them may go by how many have come.
    for number in 10_000..10_064 {
        assert!(limiter.try_acquire(number.into(), 1).is_ok(), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slower_quota_holds_from_the_instant_on_that_it_is_set() {
    let limiter = PerKeyLimiter::new(Quota::per_second(10));
    assert!(limiter.try_acquire("ann".into(), 10).is_ok());
    limiter.set_limits(Quota::per_hour(10));
    advance(Duration::from_secs(1)).await;
    assert!(limiter.try_acquire("ann".into(), 1).is_err());
    limiter.set_limits(Quota::per_second(10));
    advance(Duration::from_secs(1)).await;
    assert!(limiter.try_acquire("ann".into(), 10).is_ok());
}

#[tokio::test(start_paused = true)]
async fn who_shares_a_bucket_shares_its_quota() {
    let layer = TokenBucketLayer::new(Quota::per_minute(1))
        .per(API_KEY())
        .missing_key(MissingKey::Share)
        .limits_for(|_| Quota::per_second(1_000))
        .respond();
    let bare = || Request::get("/").body(()).unwrap();
    assert_eq!(ask(&layer, bare()).await.0, 200);
    let (status, headers) = ask(&layer, bare()).await;
    assert_eq!(status, 429);
    assert_eq!(headers["retry-after"], "60");
}

#[tokio::test(start_paused = true)]
async fn what_takes_nothing_is_admitted_and_keeps_no_place() {
    let limiter = PerKeyLimiter::new(Quota::per_minute(1));
    assert!(limiter.try_acquire("ann".into(), 1).is_ok());
    assert!(limiter.try_acquire("ann".into(), 0).is_ok());
    assert!(limiter.try_acquire("bob".into(), 0).is_ok());
    assert!(
        limiter
            .try_acquire("eve".into(), 2)
            .unwrap_err()
            .exceeds_capacity()
    );
    assert_eq!(limiter.keys(), 1);
}

#[tokio::test(start_paused = true)]
async fn edges_neither_panic_nor_pass() {
    for quota in [
        Quota::per_second(0),
        Quota::per_second(5).burst(0),
        Quota::new(0, Duration::ZERO),
        Quota::new(u64::MAX, Duration::MAX).burst(u64::MAX),
        Quota::new(1, Duration::MAX).burst(u64::MAX),
        Quota::new(u64::MAX, Duration::ZERO).burst(u64::MAX),
    ] {
        let limiter = PerKeyLimiter::new(quota).max_keys(usize::MAX);
        assert!(limiter.try_acquire("ann".into(), u64::MAX).is_err());
        let _ = limiter.try_acquire("ann".into(), 1);
        limiter.set_limits(Quota::per_hour(1));
        let _ = limiter.try_acquire("ann".into(), 1);
        limiter.set_limits(quota);
        let _ = limiter.try_acquire("ann".into(), 1);
        assert!(limiter.top(usize::MAX).len() <= 1);
    }
}

#[test]
fn what_reads_the_same_is_not_the_same_caller() {
    let long = "a name of more than fifteen bytes";
    assert_ne!(ClientKey::from(long), ClientKey::secret(long));
    assert_eq!(ClientKey::from(long), ClientKey::from(long));
    let loopback = "2001:db8::1:0:0".parse().unwrap();
    assert_ne!(
        ClientKey::network(loopback, 120),
        ClientKey::network(loopback, 128)
    );
    assert_eq!(
        ClientKey::network(loopback, 64).to_string(),
        "2001:db8::/64"
    );
    let mapped = "::ffff:192.0.2.1".parse::<std::net::IpAddr>().unwrap();
    assert_eq!(ClientKey::from(mapped).to_string(), "192.0.2.1");
    assert_eq!(ClientKey::from(u64::MAX).to_string(), u64::MAX.to_string());
    assert_eq!(ClientKey::from("").to_string(), "");
}

#[tokio::test(start_paused = true)]
async fn the_one_caller_of_a_global_key_has_a_plan_and_those_without_a_key_have_not() {
    let layer = TokenBucketLayer::new(Quota::per_minute(1))
        .per(key::Global)
        .limits_for(|_| Quota::per_minute(3))
        .respond();
    for status in [200, 200, 200, 429] {
        assert_eq!(ask(&layer, from("ann")).await.0, status);
    }
}
