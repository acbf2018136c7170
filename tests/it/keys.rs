//! Whom requests are counted for, where somebody would like it to be another.

use axum::{Router, body::Body, routing::any};
use http::{Request, StatusCode};
use tower::Service;
use tower_throttle::{
    Quota, TokenBucketLayer,
    key::{ApiKey, ClientKey, Key, Route},
};

async fn send(app: &mut Router, method: &str, path: &str) -> StatusCode {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    app.call(request).await.unwrap().status()
}

#[tokio::test(start_paused = true)]
async fn each_method_of_a_route_has_a_limit_but_none_that_is_made_up() {
    let limit = TokenBucketLayer::new(Quota::per_hour(1)).per(Route);
    let mut app = Router::new()
        .route("/users/{id}", any(|| async { "hello" }))
        .route("/files", any(|| async { "hello" }))
        .layer(limit.respond());
    for (method, path, status) in [
        ("GET", "/users/1", 200),
        ("GET", "/users/2", 429),
        ("POST", "/users/1", 200),
        ("GET", "/files", 200),
        ("PROPFIND", "/users/1", 200),
        ("GET2", "/users/1", 429),
        ("get", "/users/1", 429),
        ("X", "/users/1", 429),
        ("PROPFIND", "/files", 200),
    ] {
        let answer = send(&mut app, method, path).await;
        assert_eq!(answer, status, "{method} {path}");
    }
}

#[test]
fn a_key_in_a_header_is_all_of_it_whatever_the_header() {
    let caller = |key: ApiKey, value: &str| {
        let request = Request::get("/").header("authorization", value);
        key.key(&request.body(()).unwrap())
    };
    for (value, token) in [
        ("sk-1", None),
        ("Basic YTpi", None),
        ("Bearer ", None),
        ("Bearer sk-1", Some("sk-1")),
    ] {
        let whole = caller(ApiKey::header("authorization"), value);
        assert_eq!(whole, Some(ClientKey::secret(value.trim())), "{value:?}");
        let bearer = caller(ApiKey::bearer(), value);
        assert_eq!(bearer, token.map(ClientKey::secret), "{value:?}");
    }
}
