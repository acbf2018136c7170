//! What a cached response costs.

use std::{convert::Infallible, future::ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::CacheLayer;

use crate::{
    calls::call_with,
    measure::{Contender, Group},
};

pub(crate) fn all() -> Vec<Group> {
    vec![hit()]
}

fn hit() -> Group {
    Group::new("a response from the cache")
        .calls(500)
        .contender("nothing", hits(None))
        .contender("a prompt of 1 KB", hits(Some(1_000)))
        .contender("a prompt of 10 KB", hits(Some(10_000)))
        .contender("a prompt of 100 KB", hits(Some(100_000)))
        .nanoseconds("a prompt of 1 KB", "nothing", 5_000.0)
}

/// Sends equal requests, with a prompt of a length, to a cache; without one, to a service that
/// responds at once.
fn hits(prompt: Option<usize>) -> Contender {
    let server = service_fn(|_: Request<Full<Bytes>>| {
        let mut response = Response::new(Full::new(Bytes::from_static(b"a response")));
        for name in ["content-type", "date", "server", "x-request-id", "via"] {
            let value = http::HeaderValue::from_static("text");
            response.headers_mut().insert(name, value);
        }
        ready(Ok::<_, Infallible>(response))
    });
    let request = request(prompt.unwrap_or(1_000));
    if prompt.is_none() {
        return call_with(server, move || request.clone());
    }
    let client = CacheLayer::completions().layer(server);
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(async {
        let first = client.clone().oneshot(request.clone()).await;
        let body = first.expect("infallible").into_body();
        body.collect().await.expect("a body");
    });
    call_with(client, move || request.clone())
}

/// A chat of eight messages, as the SDKs write it.
fn request(length: usize) -> Request<Full<Bytes>> {
    let text = "all work and no play ".repeat(length / 168);
    let message = format!(r#"{{"role": "user", "content": "{text}"}}"#);
    let messages = vec![message; 8].join(", ");
    let body = format!(
        r#"{{"model": "gpt-5", "messages": [{messages}], "temperature": 0, "max_tokens": 100}}"#
    );
    Request::post("https://api.example.com/v1/chat/completions")
        .header(
            "authorization",
            "Bearer sk-0123456789012345678901234567890123456789",
        )
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("user-agent", "bench")
        .body(Full::new(Bytes::from(body)))
        .expect("a request")
}
