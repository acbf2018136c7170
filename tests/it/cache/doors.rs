//! Behind and in front of the frameworks.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use axum::{Router, routing::post};
use bytes::Bytes;
use futures::StreamExt;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use reqwest_middleware::ClientBuilder;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};
use tower_throttle::{
    ConcurrencyLayer, LayerMiddleware, Quota, RetryAfterBackoffLayer, TokenBucketLayer,
    cache::Status,
};

use super::cache;
use crate::loopback::{reqwest_client, serve};

/// Echoes a body in events, and counts.
fn echo() -> (Router, Arc<AtomicUsize>) {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let app = Router::new().route(
        "/",
        post(move |body: String| {
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                let frames = futures::stream::iter(0..3).then(move |n| {
                    let frame = format!("data: {n}{body}\n\n");
                    async {
                        tokio::task::yield_now().await;
                        Ok::<_, std::convert::Infallible>(frame)
                    }
                });
                let body = axum::body::Body::from_stream(frames);
                ([("content-type", "text/event-stream")], body)
            }
        }),
    );
    (app, calls)
}

const ANSWER: &str = "data: 0{}\n\ndata: 1{}\n\ndata: 2{}\n\n";

#[tokio::test]
async fn reqwest_answers_again_and_its_response_stays_its_own() {
    let (app, calls) = echo();
    let url = serve(app).await;
    let reqwest = reqwest_client();
    let mut client = ServiceBuilder::new()
        .layer(cache())
        .layer(RetryAfterBackoffLayer::new())
        .layer(ConcurrencyLayer::new(1))
        .layer(TokenBucketLayer::new(Quota::per_second(1_000)))
        .service(reqwest.clone());
    for expected in [Status::Miss, Status::Hit] {
        let request = reqwest.post(&url).body("{}").build().unwrap();
        let response: reqwest::Response =
            client.ready().await.unwrap().call(request).await.unwrap();
        assert_eq!(Status::of(&response), Some(expected));
        assert_eq!(response.url().as_str(), url);
        assert!(!response.headers().contains_key("transfer-encoding") || expected == Status::Miss);
        assert_eq!(response.text().await.unwrap(), ANSWER);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_reqwest_middleware_client_asks_once_for_many() {
    let (app, calls) = echo();
    let url = serve(app).await;
    let client = ClientBuilder::new(reqwest_client())
        .with(LayerMiddleware::new(cache()))
        .build();
    let asks = (0..50).map(|_| async {
        let response = client.post(&url).body("{}").send().await.unwrap();
        response.text().await.unwrap()
    });
    for body in futures::future::join_all(asks).await {
        assert_eq!(body, ANSWER);
    }
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn the_client_of_hyper_asks_once() {
    let (app, calls) = echo();
    let url = serve(app).await;
    let hyper = Client::builder(TokioExecutor::new()).build_http::<Full<Bytes>>();
    let client = cache().layer(hyper);
    let ask = || {
        let request = Request::post(&url).body(Full::new(Bytes::from("{}")));
        let client = client.clone();
        tokio::spawn(async move {
            let response = client.oneshot(request.unwrap()).await.unwrap();
            response.into_body().collect().await.unwrap().to_bytes()
        })
    };
    for body in futures::future::join_all([ask(), ask(), ask()]).await {
        assert_eq!(body.unwrap(), ANSWER);
    }
    assert_eq!(ask().await.unwrap(), ANSWER);
    assert_eq!(calls.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn axum_answers_again_without_asking_its_handler() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let handler = move || {
        let number = counted.fetch_add(1, Ordering::Relaxed);
        async move { number.to_string() }
    };
    let app = Router::new()
        .route("/", axum::routing::get(handler).head(|| async {}))
        .layer(cache());
    let url = serve(app).await;
    let client = reqwest_client();
    for expected in [
        "tower-throttle; fwd=miss; stored",
        "tower-throttle; hit; ttl=3599",
    ] {
        let response = client.get(&url).send().await.unwrap();
        assert_eq!(response.headers()["cache-status"], expected);
        assert_eq!(response.headers()["content-length"], "1");
        assert_eq!(response.text().await.unwrap(), "0");
        let head = client.head(&url).send().await.unwrap();
        assert_eq!(head.headers()["cache-status"], expected);
        assert_eq!(head.text().await.unwrap(), "");
    }
    let as_another = client.get(&url).header("authorization", "x").send();
    assert_eq!(as_another.await.unwrap().text().await.unwrap(), "1");
    assert_eq!(calls.load(Ordering::Relaxed), 2);
}
