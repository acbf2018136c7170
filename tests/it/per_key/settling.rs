//! Costs that are known after the request.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tokio::time::{advance, sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{
    Quota, SlidingWindowLayer, TokenBucketLayer,
    cost::{FromExtension, Units},
    key::ClientKey,
};

use super::{API_KEY, ask, from};

#[tokio::test(start_paused = true)]
async fn a_failed_login_counts_and_a_good_one_does_not() {
    let layer = TokenBucketLayer::new(Quota::per_minute(1).burst(3))
        .per(API_KEY())
        .settle(|response: &Response<String>| u64::from(response.status() == 401))
        .respond();
    let login = |good: bool| {
        let service = layer.layer(service_fn(move |_: Request<()>| async move {
            let mut response = Response::new(String::new());
            if !good {
                *response.status_mut() = StatusCode::UNAUTHORIZED;
            }
            Ok::<_, Infallible>(response)
        }));
        async move { service.oneshot(from("ann")).await.unwrap() }
    };
    for _ in 0..10 {
        let answer = login(true).await;
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["ratelimit"], r#""default";r=3;t=0"#);
    }
    assert_eq!(layer.limiter().keys(), 0);
    for left in [2, 1, 0] {
        let answer = login(false).await;
        let expected = format!(r#""default";r={left};t={}"#, (3 - left) * 60);
        assert_eq!(answer.headers()["ratelimit"], expected);
    }
    assert_eq!(login(true).await.status(), 429);
    advance(Duration::from_secs(60)).await;
    assert_eq!(login(true).await.status(), 200);
}

#[tokio::test(start_paused = true)]
async fn tokens_used_are_told_by_an_extension_of_the_response() {
    let layer = SlidingWindowLayer::new(Quota::per_minute(1_000))
        .per(API_KEY())
        .cost(|_: &Request<()>| 100)
        .settle(FromExtension)
        .respond();
    let service = layer.layer(service_fn(async |_: Request<()>| {
        let mut response = Response::new(String::new());
        response.extensions_mut().insert(Units(950));
        Ok::<_, Infallible>(response)
    }));
    let answer = service.clone().oneshot(from("ann")).await.unwrap();
    assert_eq!(answer.headers()["ratelimit"], r#""default";r=50;t=60"#);
    assert_eq!(service.oneshot(from("ann")).await.unwrap().status(), 429);
    assert_eq!(layer.limiter().used(ClientKey::secret("ann")), 950);
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_as_they_pass_and_settled_at_the_end_or_the_drop() {
    let layer = TokenBucketLayer::new(Quota::per_hour(1_000))
        .per(API_KEY())
        .settle_bytes()
        .respond();
    let used = |name| layer.limiter().used(ClientKey::secret(name));
    let service = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(vec![0; 300]))))
    }));
    let answer = service.clone().oneshot(from("ann")).await.unwrap();
    assert_eq!(used("ann"), 1);
    assert_eq!(
        answer.into_body().collect().await.unwrap().to_bytes().len(),
        300
    );
    assert_eq!(used("ann"), 300);
    // Dropped before its first byte: it cost nothing.
    drop(service.oneshot(from("ann")).await.unwrap());
    assert_eq!(used("ann"), 300);

    let empty = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()))
    }));
    let _held = empty.oneshot(from("bob")).await.unwrap();
    assert_eq!(used("bob"), 0);
}

/// Ten frames of 1,000 bytes.
async fn long(_: Request<()>) -> Result<Response<axum::body::Body>, Infallible> {
    let frame = || Ok::<_, Infallible>(http_body::Frame::data(Bytes::from(vec![0; 1_000])));
    let frames: Vec<_> = (0..10).map(|_| frame()).collect();
    let body = http_body_util::StreamBody::new(futures::stream::iter(frames));
    Ok(Response::new(axum::body::Body::new(body)))
}

macro_rules! long_responses_count {
    ($name:ident, $layer:ident) => {
        #[tokio::test(start_paused = true)]
        async fn $name() {
            let layer = $layer::new(Quota::per_hour(10_000))
                .per(API_KEY())
                .settle_bytes()
                .max_wait(Duration::ZERO);
            let used = || layer.limiter().used(ClientKey::secret("ann"));
            let service = layer.layer(service_fn(long));
            let mut running = Vec::new();
            for _ in 0..5 {
                running.push(service.clone().oneshot(from("ann")).await.unwrap());
            }
            for frames in 1..=2 {
                for response in &mut running {
                    response.body_mut().frame().await.unwrap().unwrap();
                }
                assert_eq!(used(), frames * 5_000);
            }
            assert!(service.clone().oneshot(from("ann")).await.is_err());
            // Half a response that is dropped costs what has passed.
            drop(running.pop());
            assert_eq!(used(), 10_000);
            for response in running {
                let body = response.into_body().collect().await.unwrap().to_bytes();
                assert_eq!(body.len(), 8_000);
            }
            assert_eq!(used(), 20_000, "twice the limit is the most");
            assert!(service.oneshot(from("ann")).await.is_err());
        }
    };
}

long_responses_count!(long_responses_count_as_they_pass, TokenBucketLayer);
long_responses_count!(long_responses_count_in_a_window, SlidingWindowLayer);

#[tokio::test(start_paused = true)]
async fn bytes_count_once_they_exceed_the_reservation() {
    let layer = TokenBucketLayer::new(Quota::per_hour(10_000))
        .per(API_KEY())
        .cost(|_: &Request<()>| 2_500)
        .settle_bytes();
    let used = || layer.limiter().used(ClientKey::secret("ann"));
    let service = layer.layer(service_fn(long));
    let mut response = service.oneshot(from("ann")).await.unwrap();
    for expected in [2_500, 2_500, 3_000, 4_000] {
        response.body_mut().frame().await.unwrap().unwrap();
        assert_eq!(used(), expected);
    }
    drop(response);
    assert_eq!(used(), 4_000);
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_owed_and_bounded() {
    let layer = TokenBucketLayer::new(Quota::per_second(10))
        .per(API_KEY())
        .settle(|_: &Response<String>| u64::MAX)
        .respond();
    let (status, headers) = ask(&layer, from("ann")).await;
    assert_eq!(
        (status.as_u16(), headers["ratelimit"].to_str().unwrap()),
        (200, r#""default";r=0;t=2"#)
    );
    // Ten are missing below nothing, and the eleventh is the next.
    advance(Duration::from_millis(1_099)).await;
    assert_eq!(ask(&layer, from("ann")).await.0, 429);
    advance(Duration::from_millis(1)).await;
    assert_eq!(ask(&layer, from("ann")).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn what_goes_back_goes_where_it_came_from() {
    // The answer takes longer than the window is long: what was reserved is back already, and goes back to nobody.
    let layer = SlidingWindowLayer::new(Quota::per_second(10))
        .per(API_KEY())
        .cost(|_: &Request<()>| 10)
        .settle(|_: &Response<String>| 0);
    let service = layer.layer(service_fn(async |_: Request<()>| {
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let slow = service.clone().oneshot(from("ann"));
    let other = async {
        tokio::time::sleep(Duration::from_millis(1_500)).await;
        let limiter = layer.limiter().clone();
        assert!(limiter.try_acquire(ClientKey::secret("ann"), 10).is_ok());
    };
    let (slow, ()) = tokio::join!(slow, other);
    assert!(slow.is_ok());
    assert_eq!(layer.limiter().used(ClientKey::secret("ann")), 10);
}

#[tokio::test(start_paused = true)]
async fn a_surplus_of_one_who_was_let_go_counts_too() {
    let layer = TokenBucketLayer::new(Quota::per_second(10))
        .per(API_KEY())
        .settle(|_: &Response<String>| 10)
        .respond();
    let service = layer.layer(service_fn(async |_: Request<()>| {
        tokio::time::sleep(Duration::from_secs(60)).await;
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    let answer = service.oneshot(from("ann")).await.unwrap();
    assert_eq!(answer.headers()["ratelimit"], r#""default";r=1;t=1"#);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_fails_or_is_dropped_has_cost_what_was_reserved() {
    let layer = TokenBucketLayer::new(Quota::per_minute(10))
        .per(API_KEY())
        .cost(|_: &Request<()>| 4)
        .settle(|_: &Response<String>| 0);
    let fails = layer.layer(service_fn(async |_: Request<()>| {
        Err::<Response<String>, _>(std::io::Error::other("broken"))
    }));
    assert!(fails.oneshot(from("ann")).await.is_err());
    assert_eq!(layer.limiter().used(ClientKey::secret("ann")), 4);
    let hangs = layer.layer(service_fn(async |_: Request<()>| {
        std::future::pending::<Result<Response<String>, Infallible>>().await
    }));
    let mut call = Box::pin(hangs.oneshot(from("ann")));
    assert!(futures::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!(layer.limiter().used(ClientKey::secret("ann")), 8);
}

#[derive(Clone, Copy)]
struct Pro;

fn pro() -> Request<()> {
    let mut request = from("ann");
    request.extensions_mut().insert(Pro);
    request
}

#[tokio::test(start_paused = true)]
async fn a_late_settlement_by_an_old_plan_keeps_what_was_used_of_a_bucket() {
    let layer = TokenBucketLayer::new(Quota::per_minute(10))
        .per(API_KEY())
        .cost(|r: &Request<()>| {
            if r.extensions().get::<Pro>().is_some() {
                900
            } else {
                1
            }
        })
        .limits_for(|r| match r.extensions().and_then(|all| all.get()) {
            Some(Pro) => Quota::per_minute(1_000),
            None => Quota::per_minute(10),
        })
        .settle(|r: &Response<String>| r.body().len() as u64);
    let caller = ClientKey::secret("ann");
    let service = layer.layer(service_fn(async |r: Request<()>| {
        let n = if r.extensions().get::<Pro>().is_some() {
            900
        } else {
            sleep(Duration::from_secs(1)).await;
            1
        };
        Ok::<_, Infallible>(Response::new("x".repeat(n)))
    }));
    let slow = service.clone().oneshot(from("ann"));
    let upgraded = async {
        sleep(Duration::from_millis(500)).await;
        service.clone().oneshot(pro()).await.unwrap();
    };
    let (slow, ()) = tokio::join!(slow, upgraded);
    slow.unwrap();
    assert!(
        layer.limiter().used(caller) > 800,
        "{}",
        layer.limiter().used(caller)
    );
}

#[tokio::test(start_paused = true)]
async fn a_late_settlement_by_an_old_plan_keeps_what_was_used_of_a_window() {
    let layer = SlidingWindowLayer::new(Quota::per_second(10))
        .per(API_KEY())
        .limits_for(|r| match r.extensions().and_then(|all| all.get()) {
            Some(Pro) => Quota::per_hour(10),
            None => Quota::per_second(10),
        })
        .settle(|r: &Response<String>| r.body().len() as u64);
    let caller = ClientKey::secret("ann");
    let service = layer.layer(service_fn(async |r: Request<()>| {
        if r.extensions().get::<Pro>().is_none() {
            sleep(Duration::from_secs(5)).await;
        }
        Ok::<_, Infallible>(Response::new("x".to_owned()))
    }));
    let slow = service.clone().oneshot(from("ann"));
    let upgraded = async {
        sleep(Duration::from_millis(500)).await;
        for _ in 0..8 {
            service.clone().oneshot(pro()).await.unwrap();
        }
    };
    let (slow, ()) = tokio::join!(slow, upgraded);
    slow.unwrap();
    service.clone().oneshot(pro()).await.unwrap();
    assert!(
        layer.limiter().used(caller) >= 9,
        "{}",
        layer.limiter().used(caller)
    );
}
