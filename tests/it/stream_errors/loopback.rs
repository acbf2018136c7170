//! Real clients, and a server that fails late.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, routing::post};
use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use reqwest_middleware::ClientBuilder;
use tower::{ServiceBuilder, ServiceExt};
use tower_throttle::{
    LayerMiddleware, RetryAfterBackoffLayer, StreamErrorLayer,
    retry::{Attempts, Backoff},
};

use super::{EVENTS, OVERLOADED, TOLD};
use crate::{
    loopback::{reqwest_client, serve},
    support::ms,
};

/// Fails late, then breaks the connection, and then answers.
async fn serve_events() -> String {
    let calls = Arc::new(AtomicUsize::new(0));
    let answer = move || {
        let last = match calls.fetch_add(1, Ordering::Relaxed) {
            0 => Ok(OVERLOADED),
            1 => Err(io::Error::other("broken")),
            _ => Ok(TOLD),
        };
        let pieces = stream::iter([Ok(": begun\n\n"), last]);
        let response = Response::builder().header("content-type", EVENTS);
        std::future::ready(response.body(Body::from_stream(pieces)).unwrap())
    };
    let app = Router::new().route("/", post(answer));
    serve(app).await
}

fn retry() -> RetryAfterBackoffLayer {
    let backoff = Backoff::new(ms(1), ms(10));
    RetryAfterBackoffLayer::new()
        .retry_non_idempotent()
        .backoff(backoff)
}

#[tokio::test]
async fn a_client_of_reqwest_gets_the_answer_in_the_end() {
    let url = serve_events().await;
    let client = ServiceBuilder::new()
        .layer(retry())
        .layer(StreamErrorLayer::new())
        .service(reqwest_client());
    let request = reqwest::Request::new(http::Method::POST, url.parse().unwrap());
    let answer: reqwest::Response = client.oneshot(request).await.unwrap();
    assert_eq!(Attempts::of(&answer).attempts(), 3);
    assert_eq!(answer.url().as_str(), url);
    assert_eq!(answer.text().await.unwrap(), format!(": begun\n\n{TOLD}"));
}

#[tokio::test]
async fn a_client_of_reqwest_middleware_gets_the_answer_in_the_end() {
    let url = serve_events().await;
    let layers = ServiceBuilder::new()
        .layer(retry())
        .layer(StreamErrorLayer::new());
    let client = ClientBuilder::new(reqwest_client())
        .with(LayerMiddleware::new(layers))
        .build();
    let answer = client.post(&url).send().await.unwrap();
    assert_eq!(Attempts::of(&answer).attempts(), 3);
    assert_eq!(answer.text().await.unwrap(), format!(": begun\n\n{TOLD}"));
}

#[tokio::test]
async fn a_client_of_hyper_gets_the_answer_in_the_end() {
    let url = serve_events().await;
    let client = ServiceBuilder::new()
        .layer(retry())
        .layer(StreamErrorLayer::new())
        .service(Client::builder(TokioExecutor::new()).build_http());
    let request = Request::post(url).body(Full::<Bytes>::default()).unwrap();
    let answer = client.oneshot(request).await.unwrap();
    assert_eq!(Attempts::of(&answer).attempts(), 3);
    let read = answer.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(read, format!(": begun\n\n{TOLD}"));
}
