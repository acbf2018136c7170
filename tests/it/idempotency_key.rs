//! One key for all attempts, and no other one for a request that has its own.

use std::{
    collections::HashSet,
    convert::Infallible,
    future::ready,
    sync::{Arc, Mutex},
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{RetryAfterBackoffLayer, idempotency_key::IdempotencyKeyLayer};

use crate::support::Listening;

type Log = Arc<Mutex<Vec<HeaderMap>>>;

/// Notes the headers of each request, and answers the first ones with these statuses, the others with 200.
fn server(
    statuses: &'static [u16],
) -> (
    impl Service<Request<&'static str>, Response = Response<()>, Error = Infallible, Future: Send>
    + Clone,
    Log,
) {
    let log = Log::default();
    let seen = log.clone();
    let server = service_fn(move |request: Request<&'static str>| {
        let mut seen = seen.lock().unwrap();
        let status = statuses.get(seen.len()).copied().unwrap_or(200);
        seen.push(request.headers().clone());
        let response = Response::builder().status(status).body(()).unwrap();
        ready(Ok::<_, Infallible>(response))
    });
    (server, log)
}

fn request(method: Method) -> Request<&'static str> {
    let mut request = Request::new("hello");
    *request.method_mut() = method;
    request
}

#[tokio::test]
async fn unsafe_methods_get_a_key_each_and_others_none() {
    let (server, log) = server(&[]);
    let service = IdempotencyKeyLayer::new().layer(server);
    for (method, has_key) in [
        (Method::POST, true),
        (Method::PATCH, true),
        (Method::from_bytes(b"PURGE").unwrap(), true),
        (Method::GET, false),
        (Method::HEAD, false),
        (Method::PUT, false),
        (Method::DELETE, false),
        (Method::from_bytes(b"QUERY").unwrap(), false),
        (Method::from_bytes(b"PROPFIND").unwrap(), false),
    ] {
        let sent = request(method.clone());
        service.clone().oneshot(sent).await.unwrap();
        let seen = log.lock().unwrap();
        let headers = seen.last().unwrap();
        assert_eq!(headers.contains_key("idempotency-key"), has_key, "{method}");
        assert_eq!(headers.len(), usize::from(has_key));
    }
}

#[tokio::test]
async fn no_two_requests_have_the_same_key() {
    let (server, log) = server(&[]);
    let service = IdempotencyKeyLayer::new().layer(server);
    for _ in 0..1_000 {
        let sent = service.clone().oneshot(request(Method::POST));
        sent.await.unwrap();
    }
    let seen = log.lock().unwrap();
    let keys: HashSet<_> = seen
        .iter()
        .map(|headers| headers["idempotency-key"].to_str().unwrap())
        .collect();
    assert_eq!(keys.len(), 1_000);
    for key in keys {
        let parts: Vec<_> = key.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12], "{key}");
        let is_hex = |byte: u8| byte == b'-' || byte.is_ascii_hexdigit();
        assert!(key.bytes().all(is_hex), "{key}");
    }
}

#[tokio::test]
async fn a_key_of_the_callers_own_is_left_alone() {
    for own in ["\"own\"", ""] {
        let (server, log) = server(&[]);
        let mut sent = request(Method::POST);
        let key = HeaderValue::from_static(own);
        sent.headers_mut().insert("idempotency-key", key);
        let service = IdempotencyKeyLayer::new().layer(server);
        service.oneshot(sent).await.unwrap();
        let seen = log.lock().unwrap();
        assert_eq!(seen[0].len(), 1);
        assert_eq!(seen[0]["idempotency-key"], own);
    }
}

#[tokio::test]
async fn the_name_can_be_another() {
    let (server, log) = server(&[]);
    let name = HeaderName::from_static("x-request-once");
    let service = IdempotencyKeyLayer::new().name(name).layer(server);
    service.oneshot(request(Method::POST)).await.unwrap();
    let seen = log.lock().unwrap();
    assert_eq!(seen[0].len(), 1);
    assert_eq!(seen[0]["x-request-once"].len(), 36);
}

#[tokio::test(start_paused = true)]
async fn outside_of_a_retry_it_makes_a_post_repeatable_and_all_attempts_have_the_same_key() {
    let (server, log) = server(&[500, 502, 503]);
    let service = ServiceBuilder::new()
        .layer(IdempotencyKeyLayer::new())
        .layer(RetryAfterBackoffLayer::new())
        .service(server);
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(response.status(), 200);
    let seen = log.lock().unwrap();
    assert_eq!(seen.len(), 4);
    assert!(seen.iter().all(|headers| headers == &seen[0]));
    assert_eq!(seen[0]["idempotency-key"].len(), 36);
}

#[tokio::test(start_paused = true)]
async fn without_a_key_a_post_that_may_have_been_acted_on_is_sent_once() {
    let (server, log) = server(&[500]);
    let service = RetryAfterBackoffLayer::new().layer(server);
    let response = service.oneshot(request(Method::POST)).await.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(log.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_request_of_reqwest_gets_one_too() {
    let log = Arc::new(Mutex::new(None));
    let seen = log.clone();
    let server = service_fn(move |request: reqwest::Request| {
        *seen.lock().unwrap() = request.headers().get("idempotency-key").cloned();
        ready(Ok::<_, Infallible>(()))
    });
    let url = "http://host/".parse().unwrap();
    let service = IdempotencyKeyLayer::new().layer(server);
    let sent = reqwest::Request::new(Method::POST, url);
    service.oneshot(sent).await.unwrap();
    assert_eq!(log.lock().unwrap().as_ref().unwrap().len(), 36);
}

#[tokio::test]
async fn an_event_says_that_a_request_got_a_key_and_not_which() {
    let (server, log) = server(&[]);
    let service = IdempotencyKeyLayer::new().layer(server);
    let events = Listening::start();
    for method in [Method::GET, Method::POST] {
        service.clone().oneshot(request(method)).await.unwrap();
    }
    assert_eq!(
        events.lines(),
        ["adding an idempotency key header=idempotency-key"]
    );
    assert!(log.lock().unwrap()[1].contains_key("idempotency-key"));
}
