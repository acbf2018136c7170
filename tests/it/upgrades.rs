//! Permits that upgraded connections hold until they close.

use std::{sync::Arc, time::Duration};

use axum::{
    Router,
    extract::{Request, State},
    routing::get,
};
use http::{Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tower_throttle::{
    ConcurrencyLayer, ConcurrencyLimiter, Rejected, concurrency::Adaptive, key::ClientKey,
};

use crate::loopback::{reqwest_client, serve};

/// Takes what a connection holds until it closes.
type Acquire = Arc<dyn Fn() -> Result<Box<dyn Send>, Rejected> + Send + Sync>;

async fn socket(
    State(acquire): State<Acquire>,
    request: Request,
) -> Result<Response<String>, StatusCode> {
    let permit = acquire().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    tokio::spawn(async move {
        let connection = hyper::upgrade::on(request).await.unwrap();
        let mut bytes = Vec::new();
        TokioIo::new(connection).read_to_end(&mut bytes).await.ok();
        drop(permit);
    });
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "echo");
    Ok(response.body(String::new()).unwrap())
}

async fn open(url: &str) -> reqwest::Response {
    let request = reqwest_client()
        .get(format!("{url}socket"))
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "echo");
    request.send().await.unwrap()
}

async fn page(url: &str) -> StatusCode {
    reqwest_client().get(url).send().await.unwrap().status()
}

/// One connection at a time, and no page meanwhile.
async fn one_at_a_time(app: Router<Acquire>, acquire: Acquire, in_flight: impl Fn() -> u64) {
    let app = app.route("/socket", get(socket)).with_state(acquire);
    let url = serve(app).await;
    for _ in 0..3 {
        let first = open(&url).await;
        assert_eq!(first.status(), StatusCode::SWITCHING_PROTOCOLS);
        let connection = first.upgrade().await.unwrap();
        for _ in 0..3 {
            assert_eq!(open(&url).await.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(page(&url).await, StatusCode::SERVICE_UNAVAILABLE);
        }
        assert_eq!(in_flight(), 1);
        drop(connection);
        while in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(page(&url).await, StatusCode::OK);
        while in_flight() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn pages() -> Router<Acquire> {
    Router::new().route("/", get(async || "a page"))
}

#[tokio::test]
async fn a_connection_holds_its_permit_until_it_closes() {
    let limiter = ConcurrencyLimiter::new(1);
    let app = pages().layer(ConcurrencyLayer::from(limiter.clone()).respond());
    let shared = limiter.clone();
    let acquire: Acquire = Arc::new(move || Ok(Box::new(shared.try_acquire()?)));
    one_at_a_time(app, acquire, || limiter.in_flight() as u64).await;
}

#[tokio::test]
async fn a_connection_holds_a_permit_of_its_client() {
    let layer = ConcurrencyLayer::new(1).per(|_: &Request| Some(ClientKey::from("ann")));
    let limiter = layer.limiter().clone();
    let app = pages().layer(layer.respond_with(|_| {
        let mut response = Response::new(axum::body::Body::empty());
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        response
    }));
    let shared = limiter.clone();
    let acquire: Acquire =
        Arc::new(move || Ok(Box::new(shared.try_acquire(ClientKey::from("ann"), 1)?)));
    one_at_a_time(app, acquire, || limiter.used(ClientKey::from("ann"))).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_connection_is_no_latency_of_an_adaptive_limit() {
    let limiter = ConcurrencyLimiter::adaptive(Adaptive::gradient().initial(50));
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut permit = limiter.try_acquire().unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
        permit.succeeded();
        held.push(permit);
    }
    let limit = limiter.limit();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(limiter.in_flight(), 40);
    drop(held);
    assert_eq!((limiter.in_flight(), limiter.limit()), (0, limit));
}
