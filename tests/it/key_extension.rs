//! Keys that an outer layer looks up and inserts as an extension.

use std::{convert::Infallible, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Request as AxumRequest,
    middleware::{Next, from_fn},
    response::IntoResponse,
    routing::get,
};
use futures::future::join_all;
use http::{Request, Response, StatusCode};
use tokio::time::{Instant, sleep, timeout};
use tower::{ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    ConcurrencyLayer, Quota, TokenBucketLayer,
    key::{ClientKey, Extension, PeerAddr, PeerIp},
    per_key::MissingKey,
};

use crate::support::{call, ms};

type Req = Request<()>;

fn from(client: Option<&str>) -> Req {
    let mut request = Request::new(());
    if let Some(client) = client {
        request.extensions_mut().insert(ClientKey::from(client));
    }
    request
}

async fn hello(_: Req) -> Result<Response<String>, Infallible> {
    Ok(Response::new("hello".to_owned()))
}

/// Looks up the client whose token it is, after 5 ms.
async fn look_up(mut request: AxumRequest, next: Next) -> axum::response::Response {
    sleep(ms(5)).await;
    let token = request.headers().get("x-token").cloned();
    if token.as_ref().is_some_and(|token| token == "down") {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    request.extensions_mut().remove::<ClientKey>();
    if let Some(token) = token {
        let client = ClientKey::name(token.as_bytes());
        request.extensions_mut().insert(client);
    }
    next.run(request).await
}

fn to_axum(token: Option<&str>) -> AxumRequest {
    let mut request = Request::get("/").body(Body::empty()).unwrap();
    if let Some(token) = token {
        let token = token.parse().unwrap();
        request.headers_mut().insert("x-token", token);
    }
    // From further out.
    let root = ClientKey::from("root");
    request.extensions_mut().insert(root);
    request
}

#[tokio::test(start_paused = true)]
async fn axum_looks_clients_up_in_a_middleware() {
    for (missing, unknown) in [
        (MissingKey::Refuse, [401, 401]),
        (MissingKey::Share, [200, 429]),
    ] {
        let limit = TokenBucketLayer::new(Quota::per_minute(1))
            .per(Extension::<ClientKey>::new())
            .missing_key(missing);
        let limiter = limit.limiter().clone();
        let app: Router = Router::new()
            .route("/", get(|| async { "hello" }))
            .layer(limit.respond())
            .layer(from_fn(look_up));
        // Dropped in its look-up.
        let ann = app.clone().oneshot(to_axum(Some("ann")));
        assert!(timeout(ms(3), ann).await.is_err());
        assert_eq!(limiter.keys(), 0);
        for (token, status) in [
            (Some("ann"), 200),
            (Some("ann"), 429),
            (Some("bob"), 200),
            // A look-up that fails takes nothing, also of the limit that requests share.
            (Some("down"), 503),
            (None, unknown[0]),
            (None, unknown[1]),
        ] {
            let response = app.clone().oneshot(to_axum(token)).await.unwrap();
            assert_eq!(response.status(), status, "{token:?} {missing:?}");
        }
        assert_eq!(limiter.used("root".into()), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn each_client_in_an_extension_has_its_own_limit() {
    let limit = TokenBucketLayer::new(Quota::per_minute(1))
        .per(Extension::<ClientKey>::new())
        .respond();
    let mut service = ServiceBuilder::new()
        .layer(limit)
        .service(service_fn(hello));
    for (client, status) in [("ann", 200), ("bob", 200), ("ann", 429), ("bob", 429)] {
        let response = call(&mut service, from(Some(client))).await.unwrap();
        assert_eq!(response.status(), status, "{client}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_decides_about_missing_extensions() {
    for (missing, statuses) in [
        (MissingKey::Share, [200, 429]),
        (MissingKey::Refuse, [401, 401]),
        (MissingKey::Pass, [200, 200]),
    ] {
        let limit = TokenBucketLayer::new(Quota::per_minute(1))
            .per(Extension::<ClientKey>::new())
            .missing_key(missing)
            .respond();
        let mut service = ServiceBuilder::new()
            .layer(limit)
            .service(service_fn(hello));
        for status in statuses {
            let response = call(&mut service, from(None)).await.unwrap();
            assert_eq!(response.status(), status, "{missing:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn extension_address_and_closure_make_one_key() {
    let route = |request: &Req| Some(ClientKey::from(request.uri().path()));
    let limit = TokenBucketLayer::new(Quota::per_minute(1))
        .per((Extension::<ClientKey>::new(), PeerIp, route))
        .missing_key(MissingKey::Share)
        .respond();
    let mut service = ServiceBuilder::new()
        .layer(limit)
        .service(service_fn(hello));
    for (client, peer, path, status) in [
        (Some("ann"), 1, "/", 200),
        (Some("ann"), 1, "/", 429),
        (Some("bob"), 1, "/", 200),
        (Some("ann"), 2, "/", 200),
        (Some("ann"), 1, "/report", 200),
        // If one is missing, so is the key: these two share.
        (None, 1, "/", 200),
        (None, 2, "/report", 429),
    ] {
        let mut request = from(client);
        *request.uri_mut() = path.parse().unwrap();
        let peer = PeerAddr(([192, 0, 2, peer], 4711).into());
        request.extensions_mut().insert(peer);
        let response = call(&mut service, request).await.unwrap();
        assert_eq!(response.status(), status, "{client:?} {peer:?} {path}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_in_an_extension_waits_in_its_own_queue() {
    let limit = ConcurrencyLayer::new(1)
        .until_response()
        .per(Extension::<ClientKey>::new())
        .max_wait(Duration::from_secs(1));
    let slow = service_fn(async |_: Req| {
        sleep(ms(10)).await;
        Ok::<_, Infallible>(Response::new(()))
    });
    let service = ServiceBuilder::new().layer(limit).service(slow);
    let begun = Instant::now();
    let calls = ["ann", "ann", "bob"].map(|client| {
        let service = service.clone();
        async move {
            service.oneshot(from(Some(client))).await.unwrap();
            begun.elapsed()
        }
    });
    assert_eq!(join_all(calls).await, [ms(10), ms(20), ms(10)]);
}
