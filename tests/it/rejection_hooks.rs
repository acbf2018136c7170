//! Hooks and names, and responses that depend on the request.

use std::{
    convert::Infallible,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
};

use futures::FutureExt;
use http::{Request, Response};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_throttle::{
    ConcurrencyLayer, Quota, Reason, Rejected, SlidingWindowLayer, TokenBucketLayer,
    key::{ApiKey, ClientKey},
    per_key::MissingKey,
    rejection::RejectedRequest,
};

use crate::support::ms;

type Events = Arc<Mutex<Vec<String>>>;

fn recorder(events: &Events) -> impl Fn(&RejectedRequest<'_>) + Send + Sync + 'static {
    let events = events.clone();
    move |rejected| {
        let name = rejected.rejected.name().unwrap_or("-");
        let reason = rejected.rejected.reason().as_str();
        let path = rejected.request.path();
        let key = rejected.key.map_or("-".to_owned(), |key| key.to_string());
        let passed = rejected.passed;
        let event = format!("{name} {reason} {path} {key} {passed}");
        events.lock().unwrap().push(event);
    }
}

fn take(events: &Events) -> Vec<String> {
    std::mem::take(&mut events.lock().unwrap())
}

async fn hello(_: Request<()>) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello".into()))
}

fn get(path: &str) -> Request<()> {
    Request::get(path).body(()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_hook_sees_name_reason_and_head() {
    let events = Events::default();
    let quota = Quota::per_hour(1);
    let bucket = TokenBucketLayer::new(quota).name("chat").respond();
    let bucket = bucket.on_rejected(recorder(&events));
    let window = SlidingWindowLayer::new(quota).name("hour").respond();
    let window = window.on_rejected(recorder(&events));
    let slots = ConcurrencyLayer::new(0).name("slots").respond();
    let slots = slots.on_rejected(recorder(&events));
    for path in ["/a", "/b"] {
        let response = bucket.layer(service_fn(hello)).oneshot(get(path)).await;
        assert_eq!(response.unwrap().status() == 429, path == "/b");
        let response = window.layer(service_fn(hello)).oneshot(get(path)).await;
        assert_eq!(response.unwrap().status() == 429, path == "/b");
    }
    let response = slots.layer(service_fn(hello)).oneshot(get("/c")).await;
    assert_eq!(response.unwrap().status(), 503);
    assert_eq!(
        take(&events),
        [
            "chat wait_too_long /b - false",
            "hour wait_too_long /b - false",
            "slots exceeds_capacity /c - false",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hook_is_called_when_a_wait_ends_in_vain() {
    let events = Events::default();
    let layer = ConcurrencyLayer::new(1)
        .name("slots")
        .max_wait(ms(100))
        .on_rejected(recorder(&events));
    let permit = layer.limiter().try_acquire();
    let error = layer.layer(service_fn(hello)).oneshot(get("/a")).await;
    let error = error.unwrap_err();
    assert_eq!(Rejected::of(&error).unwrap().name(), Some("slots"));
    assert_eq!(take(&events), ["slots wait_too_long /a - false"]);
    drop(permit);
}

#[tokio::test(start_paused = true)]
async fn a_layer_with_a_hook_waits_as_without() {
    let layer = TokenBucketLayer::new(Quota::per_second(1)).on_rejected(|_| unreachable!());
    for _ in 0..3 {
        let response = layer.layer(service_fn(hello)).oneshot(get("/")).await;
        assert_eq!(response.unwrap().status(), 200);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_hook_unwinds_and_leaks_nothing() {
    let layer = ConcurrencyLayer::new(1)
        .respond()
        .max_wait(ms(100))
        .on_rejected(|_| panic!("hook"));
    let limiter = layer.limiter().clone();
    let permit = limiter.try_acquire();
    let call = layer.layer(service_fn(hello)).oneshot(get("/"));
    assert!(AssertUnwindSafe(call).catch_unwind().await.is_err());
    assert_eq!(limiter.waiting(), 0);
    drop(permit);
    assert_eq!(limiter.in_flight(), 0);
    let response = layer.layer(service_fn(hello)).oneshot(get("/")).await;
    assert_eq!(response.unwrap().status(), 200);
}

#[tokio::test(start_paused = true)]
async fn a_hook_per_key_sees_the_key() {
    let events = Events::default();
    let layer = |events: &Events| {
        TokenBucketLayer::new(Quota::per_hour(1))
            .name("chat")
            .per(|request: &Request<()>| {
                let key = request.headers().get("x-user")?.to_str().ok()?;
                Some(ClientKey::name(key))
            })
            .respond()
            .on_rejected(recorder(events))
    };
    let ann = |path: &str| Request::get(path).header("x-user", "ann").body(()).unwrap();
    let limit = layer(&events);
    for path in ["/a", "/b"] {
        let response = limit.layer(service_fn(hello)).oneshot(ann(path)).await;
        assert_eq!(response.unwrap().status() == 429, path == "/b");
    }
    let response = limit.layer(service_fn(hello)).oneshot(get("/c")).await;
    assert_eq!(response.unwrap().status(), 401);
    limit.limiter().set_shadow(true);
    let response = limit.layer(service_fn(hello)).oneshot(ann("/d")).await;
    assert_eq!(response.unwrap().status(), 200);
    assert_eq!(
        take(&events),
        [
            "chat wait_too_long /b ann false",
            "chat missing_key /c - false",
            "chat wait_too_long /d ann true",
        ]
    );
    assert_eq!(limit.limiter().rejections(), 3);
}

#[tokio::test(start_paused = true)]
async fn the_limit_that_had_no_room_is_named() {
    let layer = TokenBucketLayer::new(Quota::per_hour(9))
        .per(ApiKey::bearer())
        .missing_key(MissingKey::Share)
        .and("day", SlidingWindowLayer::new(Quota::per_hour(1)));
    let service = layer.layer(service_fn(hello));
    assert!(service.clone().oneshot(get("/")).await.is_ok());
    let error = service.oneshot(get("/")).await.unwrap_err();
    assert_eq!(Rejected::of(&error).unwrap().name(), Some("day"));

    let one = ConcurrencyLayer::new(0).per(ApiKey::bearer());
    let one = one.missing_key(MissingKey::Share);
    let error = one.layer(service_fn(hello)).oneshot(get("/")).await;
    assert_eq!(Rejected::of(&error.unwrap_err()).unwrap().name(), None);
    let one = one.name("slots");
    let error = one.layer(service_fn(hello)).oneshot(get("/")).await;
    let error = error.unwrap_err();
    assert_eq!(Rejected::of(&error).unwrap().name(), Some("slots"));
}

#[tokio::test(start_paused = true)]
async fn a_response_can_depend_on_the_head() {
    let layer = ConcurrencyLayer::new(0)
        .name("slots")
        .until_headers()
        .respond_with_head(|head, rejected| {
            let name = rejected.name().unwrap_or_default();
            Response::new(format!("{} {}: {name}", head.method(), head.path()))
        });
    let response = layer.layer(service_fn(hello)).oneshot(get("/a")).await;
    assert_eq!(response.unwrap().body(), "GET /a: slots");

    let layer = TokenBucketLayer::new(Quota::per_hour(0))
        .per(|_: &Request<()>| Some(ClientKey::EVERYONE))
        .respond_with_head(|head, _| Response::new(head.path().to_owned()));
    let response = layer.layer(service_fn(hello)).oneshot(get("/b")).await;
    let response = response.unwrap();
    assert_eq!(response.body(), "/b");
    assert!(response.headers().contains_key("ratelimit"));
}

#[tokio::test(start_paused = true)]
async fn any_protocol_can_respond() {
    let mut service = TokenBucketLayer::new(Quota::per_hour(0))
        .respond_with(|rejected| match rejected.reason() {
            Reason::ExceedsCapacity { .. } => 0_u32,
            _ => 1,
        })
        .layer(service_fn(async |n: u32| Ok::<_, Infallible>(n)));
    assert_eq!(service.ready().await.unwrap().call(7).await, Ok(0));
}
