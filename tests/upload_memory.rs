//! How much a large upload holds, in a process of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::{
    convert::Infallible,
    fs,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{Router, body::Body, http::StatusCode, routing::post};
use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::net::TcpListener;
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_throttle::{RetryAfterBackoffLayer, replay::ReplayLayer};

const MIB: usize = 1 << 20;
const CHUNK: usize = 64 * 1024;

/// In KiB.
fn status(name: &str) -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    let number = line.split_whitespace().nth(1).unwrap();
    number.parse().unwrap()
}

/// So many bytes, each chunk of which is made when it is asked for.
fn upload(bytes: usize) -> Body {
    let chunks = (0..bytes / CHUNK).map(|_| Ok::<_, Infallible>(Bytes::from(vec![7; CHUNK])));
    Body::from_stream(stream::iter(chunks))
}

#[tokio::test]
async fn an_upload_of_64_mib_under_a_bound_of_8_holds_no_more_than_16() {
    let (requests, received) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (seen, counted) = (requests.clone(), received.clone());
    // Reads all of each request, and turns the first large one away.
    let handler = post(async move |body: Body| {
        let mut body = body;
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            counted.fetch_add(data.len(), Ordering::Relaxed);
        }
        match seen.fetch_add(1, Ordering::Relaxed) {
            1 => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "0")]),
            _ => (StatusCode::OK, [("retry-after", "0")]),
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().route("/", handler);
    tokio::spawn(async { axum::serve(listener, app).await });

    let mut client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(RetryAfterBackoffLayer::new())
        .service(Client::builder(TokioExecutor::new()).build_http());
    let mut send = async |body| {
        let request = Request::post(&url).body(body).unwrap();
        let response: Response<_> = client.ready().await.unwrap().call(request).await.unwrap();
        response.status().as_u16()
    };

    // Whatever is only set up once.
    assert_eq!(send(upload(MIB)).await, 200);
    let before = status("VmRSS:");
    // It can't be sent again.
    assert_eq!(send(upload(64 * MIB)).await, 503);
    assert_eq!(requests.load(Ordering::Relaxed), 2);
    assert_eq!(send(upload(64 * MIB)).await, 200);
    assert_eq!(received.load(Ordering::Relaxed), 129 * MIB);
    let grown = status("VmHWM:").saturating_sub(before);
    assert!(grown <= 16 * 1024, "{grown} KiB");
    // Else nothing was recorded, and this says nothing.
    assert!(grown >= 4 * 1024, "{grown} KiB");
}
