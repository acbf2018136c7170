//! An error after the first content of a stream: others learn of it, and the stream does not change.

use std::{convert::Infallible, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, Circuit, CircuitBreakerLayer, Outcome, StackLayer, StreamErrorLayer, Tokens,
    provider::{Accounting, Provider, ProviderLayer, ProviderLimiter},
    router::{RouterLayer, Target},
};

type Body = UnsyncBoxBody<Bytes, Infallible>;

const CONTENT: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"Hi\"}}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5,\
                     \"total_tokens\":12}}\n\n";
const LIMIT: &str = "data: {\"error\":{\"type\":\"tokens\",\"code\":\"rate_limit_exceeded\",\
                     \"message\":\"Rate limit reached for gpt. Please try again in 20s.\"}}\n\n";
const OVERLOADED: &str =
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";

fn response(chunks: &'static [&'static str]) -> Response<Body> {
    let frames = stream::iter(chunks).map(|chunk| Ok(Frame::data(Bytes::from(*chunk))));
    let response = Response::builder().header("content-type", "text/event-stream");
    response
        .body(StreamBody::new(frames).boxed_unsync())
        .unwrap()
}

fn request() -> Request<Full<Bytes>> {
    Request::post("/v1/chat/completions")
        .body(Full::from("{}"))
        .unwrap()
}

fn limiter() -> ProviderLimiter {
    let provider = Provider::new("small").rpm(60).tpm(10_000);
    ProviderLimiter::new(provider.counting(Accounting::SETTLED))
}

/// A client of a server that always sends this stream, and its circuit.
fn client(
    limiter: &ProviderLimiter,
    chunks: &'static [&'static str],
) -> (
    impl Service<
        Request<Full<Bytes>>,
        Response = Response<impl http_body::Body<Data = Bytes, Error: Into<BoxError>>>,
        Error = BoxError,
    > + Clone,
    Circuit,
) {
    let circuit = Circuit::new();
    let client = ServiceBuilder::new()
        .layer(ProviderLayer::from(limiter.clone()))
        .layer(CircuitBreakerLayer::from(circuit.clone()))
        .layer(StreamErrorLayer::new())
        .service(service_fn(move |_: Request<Full<Bytes>>| async move {
            Ok::<_, Infallible>(response(chunks))
        }));
    (client, circuit)
}

async fn text<B>(body: B) -> String
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>>,
{
    let bytes = body.collect().await.map_err(Into::into).unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_late_rate_limit_pauses_the_others() {
    for (chunks, expected) in [
        (&[CONTENT, LIMIT] as &'static [&'static str], 20),
        (&[CONTENT, LIMIT, "data: [DONE]\n\n"], 20),
        (&[CONTENT, USAGE, LIMIT], 20),
        (&[CONTENT, OVERLOADED], 0),
        (&[CONTENT, "data: [DONE]\n\n"], 0),
        (&[LIMIT, CONTENT], 20),
    ] {
        let limiter = limiter();
        let (client, _) = client(&limiter, chunks);
        let response = client.oneshot(request()).await.unwrap();
        let is_early = response.status() == 429;
        assert_eq!(is_early, chunks[0] == LIMIT);
        assert_eq!(text(response.into_body()).await, chunks.concat());
        let paused = limiter.usage().paused_for;
        let expected = Duration::from_secs(expected);
        assert!(
            paused >= expected && paused <= expected * 11 / 10,
            "{chunks:?} {paused:?}"
        );
        assert_eq!(limiter.usage().in_flight, 0);
        assert_eq!(
            limiter.try_acquire(Tokens::default()).is_err(),
            !expected.is_zero()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn what_was_used_before_a_late_error_counts() {
    let limiter = limiter();
    let (client, _) = client(&limiter, &[CONTENT, USAGE, LIMIT]);
    let response = client.oneshot(request()).await.unwrap();
    text(response.into_body()).await;
    assert_eq!(limiter.usage().limits().nth(1).unwrap().used, 12);
}

#[tokio::test(start_paused = true)]
async fn a_stream_dropped_after_its_error_counts() {
    let limiter = limiter();
    let (client, _) = client(&limiter, &[CONTENT, LIMIT, CONTENT]);
    let mut body = Box::pin(client.oneshot(request()).await.unwrap().into_body());
    for _ in 0..2 {
        assert!(body.frame().await.unwrap().is_ok());
    }
    drop(body);
    assert!(limiter.usage().paused_for >= Duration::from_secs(20));
}

#[tokio::test(start_paused = true)]
async fn late_errors_open_a_circuit() {
    for (chunks, opens) in [
        (&[CONTENT, OVERLOADED] as &'static [&'static str], true),
        (&[CONTENT, "data: [DONE]\n\n"], false),
    ] {
        let limiter = ProviderLimiter::new(Provider::new("large"));
        let (client, circuit) = client(&limiter, chunks);
        for _ in 0..20 {
            if let Ok(response) = client.clone().oneshot(request()).await {
                text(response.into_body()).await;
            }
        }
        assert_eq!(circuit.is_open(), opens, "{chunks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_breaker_around_the_limits_counts_once() {
    for (chunks, opens) in [
        (&[CONTENT, OVERLOADED] as &'static [&'static str], true),
        (&[CONTENT, "data: [DONE]\n\n"], false),
    ] {
        let limiter = ProviderLimiter::new(Provider::new("large"));
        let (client, inner) = client(&limiter, chunks);
        let outer = Circuit::new();
        let client = ServiceBuilder::new()
            .layer(CircuitBreakerLayer::from(outer.clone()))
            .layer(ProviderLayer::new(Provider::new("outer")))
            .service(client);
        for count in 0..10 {
            assert!(!outer.is_open() && !inner.is_open(), "{count}");
            let response = client.clone().oneshot(request()).await.unwrap();
            text(response.into_body()).await;
        }
        assert_eq!((outer.is_open(), inner.is_open()), (opens, opens));
    }
}

#[tokio::test(start_paused = true)]
async fn the_circuit_of_a_target_counts_late_errors() {
    for (chunks, opens) in [
        (&[CONTENT, OVERLOADED] as &'static [&'static str], true),
        (&[CONTENT, "data: [DONE]\n\n"], false),
    ] {
        let circuit = Circuit::new();
        let limiter = ProviderLimiter::new(Provider::new("large"));
        let target = Target::new("large", limiter).circuit(circuit.clone());
        let client = RouterLayer::ranked().target(target).layer(service_fn(
            move |_: Request<Full<Bytes>>| async move { Ok::<_, Infallible>(response(chunks)) },
        ));
        for _ in 0..10 {
            let response = client.clone().oneshot(request()).await.unwrap();
            text(response.into_body()).await;
        }
        assert_eq!(circuit.is_open(), opens, "{chunks:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stack_learns_of_late_errors() {
    let limiter = limiter();
    let client = StackLayer::new(ProviderLayer::from(limiter.clone())).layer(service_fn(
        async |_: Request<Full<Bytes>>| Ok::<_, Infallible>(response(&[CONTENT, LIMIT])),
    ));
    let response = client.oneshot(request()).await.unwrap();
    assert_eq!(Outcome::of(Ok(&response)), Some(Outcome::Success));
    let _ = text(response.into_body()).await;
    assert!(limiter.usage().paused_for >= Duration::from_secs(20));
}
