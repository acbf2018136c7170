//! Refusals in plain text.

use std::convert::Infallible;

use axum::{Router, body::Body, routing::get};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    ConcurrencyLayer, Quota, Rejected, TimeoutLayer, TokenBucketLayer, cache, key, provider,
    rejection::{Text, body::TextBody},
    stream_errors, timeout,
};

use crate::{
    loopback::{reqwest_client, serve},
    support::call,
};

async fn text<B>(response: Response<B>) -> String
where
    B: http_body::Body<Error: std::fmt::Debug>,
{
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_client_of_axum_reads_why_and_when() {
    let minute = TokenBucketLayer::new(Quota::per_minute(1)).respond_as(Text);
    let app = Router::new().route("/", get(|| async { "hello" }));
    let url = serve(app.layer(minute)).await;
    let client = reqwest_client();
    client.get(&url).send().await.unwrap();
    let refused = client.get(&url).send().await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(
        refused.headers()["content-type"],
        "text/plain; charset=utf-8"
    );
    let wait = refused.headers()["retry-after"]
        .to_str()
        .unwrap()
        .to_owned();
    let words = format!("too many requests, retry in {wait} seconds\n");
    assert_eq!(refused.text().await.unwrap(), words);
    let head = client.head(&url).send().await.unwrap();
    assert_eq!(head.status(), 429);
    assert_eq!(head.text().await.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn concurrency_says_it_in_a_body_that_holds_nothing() {
    let layer = ConcurrencyLayer::new(1).respond_as(Text);
    let mut server = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(String::from("hello")))
    }));
    let held = call(&mut server, Request::new(())).await.unwrap();
    let refused = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(!refused.body().is_held());
    drop(held);
    let admitted = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(text(admitted).await, "hello");
    let words = "too many concurrent requests, retry in 1 second\n";
    assert_eq!(text(refused).await, words);
}

#[tokio::test(start_paused = true)]
async fn what_is_never_admitted_is_not_told_to_come_back() {
    let layer = TokenBucketLayer::new(Quota::per_second(3)).respond_as(Text);
    let refused = layer
        .cost(|_: &Request<()>| 4)
        .layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(Full::<Bytes>::default()))
        }))
        .oneshot(Request::new(()))
        .await
        .unwrap();
    assert_eq!(refused.status(), 429);
    assert!(!refused.headers().contains_key("retry-after"));
    assert!(
        refused
            .extensions()
            .get::<Rejected>()
            .unwrap()
            .exceeds_capacity()
    );
    let words = "request exceeds the limit\n";
    assert_eq!(text(refused).await, words);
}

#[tokio::test(start_paused = true)]
async fn a_limit_by_caller_keeps_its_fields() {
    let layer = TokenBucketLayer::new(Quota::per_minute(2))
        .per(key::ApiKey::header("x-api-key"))
        .respond_as(Text)
        .name("minute");
    let mut server = layer.layer(service_fn(async |_: Request<()>| {
        Ok::<_, Infallible>(Response::new(UnsyncBoxBody::<Bytes, Infallible>::default()))
    }));
    let from = |key: &str| Request::get("/").header("x-api-key", key).body(()).unwrap();
    for left in [1, 0] {
        let answer = call(&mut server, from("ann")).await.unwrap();
        let left = format!(r#""minute";r={left};t={}"#, 60 - 30 * left);
        assert_eq!(answer.headers()["ratelimit"], left.as_str());
    }
    let refused = call(&mut server, from("ann")).await.unwrap();
    assert_eq!(refused.headers()["ratelimit"], r#""minute";r=0;t=60"#);
    let words = "too many requests, retry in 30 seconds\n";
    assert_eq!(text(refused).await, words);
    let nobody = call(&mut server, Request::new(())).await.unwrap();
    assert_eq!(nobody.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(text(nobody).await, "missing API key\n");
}

#[tokio::test(start_paused = true)]
async fn it_fits_into_the_body_of_each_layer_that_may_stand_further_in() {
    async fn written<B: TextBody + http_body::Body<Error: std::fmt::Debug>>() -> String {
        text(Response::new(B::from_text("wait".to_owned()))).await
    }
    assert_eq!(
        written::<timeout::body::ResponseBody<String>>().await,
        "wait"
    );
    assert_eq!(
        written::<provider::body::ResponseBody<String>>().await,
        "wait"
    );
    assert_eq!(
        written::<stream_errors::body::ResponseBody<String>>().await,
        "wait"
    );
    assert_eq!(written::<cache::body::ResponseBody>().await, "wait");
    let mut server = ServiceBuilder::new()
        .layer(TokenBucketLayer::new(Quota::per_hour(0)).respond_as(Text))
        .layer(TimeoutLayer::new())
        .service(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::new(String::from("hello")))
        }));
    let refused = call(&mut server, Request::new(())).await.unwrap();
    let words = "request exceeds the limit\n";
    assert_eq!(text(refused).await, words);
}

#[tokio::test(start_paused = true)]
async fn a_body_of_ones_own_can_hold_it() {
    #[derive(Debug, PartialEq)]
    enum Page {
        Home,
        Sorry(String),
    }
    impl TextBody for Page {
        fn from_text(text: String) -> Self {
            Self::Sorry(text)
        }
    }
    let layer = TokenBucketLayer::new(Quota::per_second(1)).respond_as(Text);
    let mut server = layer.layer(service_fn(async |_: Request<Body>| {
        Ok::<_, Infallible>(Response::new(Page::Home))
    }));
    let home = call(&mut server, Request::default()).await.unwrap();
    assert_eq!(*home.body(), Page::Home);
    let sorry = call(&mut server, Request::default()).await.unwrap();
    let words = "too many requests, retry in 1 second\n";
    assert_eq!(*sorry.body(), Page::Sorry(words.into()));
}
