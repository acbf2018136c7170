//! What an answer used, and every other way in which a request may end.

use std::{convert::Infallible, io, time::Duration};

use bytes::{Buf, Bytes};
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};
use tower_throttle::{
    Circuit, CircuitBreakerLayer, CircuitOpen, Quota, Rejected, TokenBucketLayer, Tokens,
    provider::{Accounting, Provider, ProviderLayer, ProviderLimiter},
};

use super::{ask, half_and_half, json, small, used};
use crate::support::ms;

const USED_7: &str =
    r#"{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":3,"total_tokens":7}}"#;

type ByBody = fn(&Request<&'static str>) -> Tokens;

fn layer() -> (ProviderLimiter, ProviderLayer<ByBody>) {
    let limiter = ProviderLimiter::new(small());
    let layer = ProviderLayer::from(limiter.clone()).estimate(half_and_half as ByBody);
    (limiter, layer)
}

#[tokio::test(start_paused = true)]
async fn an_answer_settles_its_request_with_its_last_frame() {
    let (limiter, layer) = layer();
    let service = layer.layer(service_fn(async |_: Request<_>| json(USED_7)));
    let response = service.oneshot(ask("0123456789")).await.unwrap();
    assert_eq!(used(&limiter, 1), 10);
    assert_eq!(limiter.usage().in_flight, 1);
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, USED_7.as_bytes());
    assert_eq!(used(&limiter, 1), 7);
    assert_eq!(limiter.usage().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_stream_settles_wherever_it_is_cut_and_passes_unchanged() {
    const STREAM: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}],\"usage\":null}\r\n\r\n\
        data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":3,\"total_tokens\":7}}\n\n\
        data: [DONE]\n\n";
    for cut in 0..=STREAM.len() {
        let (limiter, layer) = layer();
        let service = layer.layer(service_fn(async |_: Request<_>| {
            let (head, tail) = STREAM.as_bytes().split_at(cut);
            let frames = [head, tail].map(|part| Ok::<_, Infallible>(Frame::data(part)));
            let response = Response::builder().header("content-type", "text/event-stream");
            Ok::<_, Infallible>(
                response
                    .body(StreamBody::new(stream::iter(frames)))
                    .unwrap(),
            )
        }));
        let response = service.oneshot(ask("0123456789")).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, STREAM.as_bytes());
        assert_eq!(used(&limiter, 1), 7, "cut at {cut}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_say_what_it_used_counts_for_what_it_reserved() {
    for (kind, encoding, body) in [
        ("application/json", "identity", "{}"),
        ("application/json", "gzip", USED_7),
        ("image/png", "identity", USED_7),
    ] {
        let (limiter, layer) = layer();
        let service = layer.layer(service_fn(async |_: Request<_>| {
            let response = Response::builder()
                .header("content-type", kind)
                .header("content-encoding", encoding);
            Ok::<_, Infallible>(response.body(Full::new(body.as_bytes())).unwrap())
        }));
        let response = service.oneshot(ask("0123456789")).await.unwrap();
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(bytes, body.as_bytes());
        assert_eq!(used(&limiter, 1), 10, "{kind} {encoding}");
        assert_eq!(limiter.usage().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_dropped_or_breaks_ends_its_request() {
    for breaks in [false, true] {
        let (limiter, layer) = layer();
        let service = layer.layer(service_fn(async |_: Request<_>| {
            let first = stream::iter([Ok(Frame::data(Bytes::from_static(b"{")))]);
            let error = stream::iter([Err(io::Error::other("cut"))]);
            let response = Response::builder().header("content-type", "application/json");
            Ok::<_, Infallible>(response.body(StreamBody::new(first.chain(error))).unwrap())
        }));
        let response = service.oneshot(ask("0123456789")).await.unwrap();
        let mut body = response.into_body();
        body.frame().await.unwrap().unwrap();
        assert_eq!(limiter.usage().in_flight, 1);
        if breaks {
            body.frame().await.unwrap().unwrap_err();
        } else {
            drop(body);
        }
        assert_eq!(limiter.usage().in_flight, 0);
        assert_eq!(used(&limiter, 1), 10);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_never_left_comes_back_whole_and_one_that_may_have_does_not() {
    for (kind, requests, tokens) in [
        (io::ErrorKind::ConnectionRefused, 0, 0),
        (io::ErrorKind::ConnectionReset, 1, 10),
        (io::ErrorKind::Other, 1, 10),
    ] {
        let (limiter, layer) = layer();
        let service = layer.layer(service_fn(async |_: Request<_>| {
            Err::<Response<Empty<Bytes>>, _>(io::Error::from(kind))
        }));
        let error = service.oneshot(ask("0123456789")).await.unwrap_err();
        assert_eq!(error.downcast_ref::<io::Error>().unwrap().kind(), kind);
        assert_eq!(
            (used(&limiter, 0), used(&limiter, 1)),
            (requests, tokens),
            "{kind}"
        );
        assert_eq!(limiter.usage().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_and_a_panic_end_their_requests() {
    let (limiter, layer) = layer();
    let service = layer.layer(service_fn(async |request: Request<&str>| {
        assert!(!request.body().contains("panic"));
        std::future::pending::<Result<Response<Empty<Bytes>>, Infallible>>().await
    }));
    let call = service.clone().oneshot(ask("0123456789"));
    tokio::time::timeout(ms(10), call).await.unwrap_err();
    assert_eq!((used(&limiter, 1), limiter.usage().in_flight), (10, 0));
    let task = tokio::spawn(service.oneshot(ask("panic")));
    assert!(task.await.is_err());
    assert_eq!((used(&limiter, 1), limiter.usage().in_flight), (15, 0));
}

#[tokio::test(start_paused = true)]
async fn an_error_of_the_provider_uses_no_tokens() {
    let (limiter, layer) = layer();
    let service = layer.layer(service_fn(async |_: Request<_>| {
        let response = Response::builder().status(400);
        Ok::<_, Infallible>(response.body(Full::new(USED_7.as_bytes())).unwrap())
    }));
    let response = service.oneshot(ask("0123456789")).await.unwrap();
    assert_eq!(used(&limiter, 1), 10);
    drop(response);
    assert_eq!((used(&limiter, 0), used(&limiter, 1)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_unprocessed_request_is_refunded() {
    for (status, requests) in [(421, 0), (425, 0), (423, 1)] {
        let (limiter, layer) = layer();
        let service = layer.layer(service_fn(async |_: Request<_>| {
            let response = Response::builder().status(status);
            Ok::<_, Infallible>(response.body(Full::new(USED_7.as_bytes())).unwrap())
        }));
        let response = service.oneshot(ask("0123456789")).await.unwrap();
        assert_eq!(response.status(), status);
        let text = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(text, USED_7);
        assert_eq!((used(&limiter, 0), used(&limiter, 1)), (requests, 0));
        assert_eq!(limiter.usage().in_flight, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn an_empty_answer_ends_its_request_at_once() {
    let (limiter, layer) = layer();
    let mut service = layer.layer(service_fn(async |_: Request<_>| {
        Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new()))
    }));
    let response = service
        .ready()
        .await
        .unwrap()
        .call(ask("0123456789"))
        .await
        .unwrap();
    assert_eq!(limiter.usage().in_flight, 0);
    assert_eq!(response.headers().len(), 0);
    tokio::time::sleep(Duration::from_secs(61)).await;
    assert_eq!(used(&limiter, 1), 0);
}

#[tokio::test(start_paused = true)]
async fn estimates_get_better_by_what_was_used() {
    const USED: &str = r#"{"usage":{"input_tokens":10,"output_tokens":30}}"#;
    let provider = Provider::new("p")
        .tpm(1_000_000)
        .counting(Accounting::ANTHROPIC);
    let estimate = |_: &Request<&'static str>| Tokens::new(10, 1_000);
    for (learns, reserved) in [(false, 1_010), (true, 40)] {
        let limiter = ProviderLimiter::new(provider);
        let layer = ProviderLayer::from(limiter.clone()).estimate(estimate);
        let service = layer
            .learn_estimates(learns)
            .layer(service_fn(async |_: Request<_>| json(USED)));
        for _ in 0..50 {
            let response = service.clone().oneshot(ask("")).await.unwrap();
            response.into_body().collect().await.unwrap();
        }
        let _held = service.oneshot(ask("")).await.unwrap();
        let held = limiter.usage().limits().next().unwrap().reserved;
        assert!(
            held >= reserved && held <= reserved + reserved / 10,
            "{held}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn errors_of_the_provider_teach_nothing() {
    let provider = Provider::new("p")
        .tpm(1_000_000)
        .counting(Accounting::ANTHROPIC);
    let limiter = ProviderLimiter::new(provider);
    let layer = ProviderLayer::from(limiter.clone())
        .estimate(|_: &Request<&'static str>| Tokens::new(10, 1_000))
        .learn_estimates(true);
    let service = layer.layer(service_fn(async |_: Request<_>| {
        let response = Response::builder().status(500);
        Ok::<_, Infallible>(response.body(Full::new(USED_7.as_bytes())).unwrap())
    }));
    for _ in 0..50 {
        drop(service.clone().oneshot(ask("")).await.unwrap());
    }
    let _held = service.oneshot(ask("")).await.unwrap();
    assert_eq!(limiter.usage().limits().next().unwrap().reserved, 1_010);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_limit_further_in_refused_never_left() {
    let (limiter, layer) = layer();
    let inner = TokenBucketLayer::new(Quota::per_hour(1)).max_wait(Duration::ZERO);
    let service = layer.layer(inner.layer(service_fn(async |_: Request<_>| json(USED_7))));
    let answered = service.clone().oneshot(ask("0123456789")).await.unwrap();
    drop(answered);
    let error = service.oneshot(ask("0123456789")).await.unwrap_err();
    assert!(error.is::<Rejected>());
    assert_eq!((used(&limiter, 0), used(&limiter, 1)), (1, 10));
}

#[tokio::test(start_paused = true)]
async fn a_request_that_a_circuit_further_in_turned_away_never_left() {
    let circuit = Circuit::new().failures(1);
    circuit.enter().unwrap().failed(None);
    let (limiter, layer) = layer();
    let inner = CircuitBreakerLayer::from(circuit);
    let service = layer.layer(inner.layer(service_fn(async |_: Request<_>| json(USED_7))));
    let error = service.oneshot(ask("0123456789")).await.unwrap_err();
    assert!(error.is::<CircuitOpen>());
    assert_eq!((used(&limiter, 0), used(&limiter, 1)), (0, 0));
}

/// Data in two pieces that shows one at a time, as any `Buf` may.
struct Pieces(Bytes, Bytes);

impl Buf for Pieces {
    fn remaining(&self) -> usize {
        self.0.len() + self.1.len()
    }

    fn chunk(&self) -> &[u8] {
        if self.0.is_empty() { &self.1 } else { &self.0 }
    }

    fn advance(&mut self, n: usize) {
        let first = n.min(self.0.len());
        self.0.advance(first);
        self.1.advance(n - first);
    }
}

#[tokio::test(start_paused = true)]
async fn usage_is_not_read_out_of_half_of_the_bytes() {
    const HEAD: &[u8] = br#"{"usage":{"prompt_tokens":4,"completion_tokens":1"#;
    const TAIL: &[u8] = br#"000}}"#;
    let (limiter, layer) = layer();
    let service = layer.layer(service_fn(async |_: Request<_>| {
        let data = Pieces(Bytes::from_static(HEAD), Bytes::from_static(TAIL));
        let end = Pieces(Bytes::from_static(b"}}"), Bytes::new());
        let frames = [data, end].map(|data| Ok::<_, Infallible>(Frame::data(data)));
        let response = Response::builder().header("content-type", "application/json");
        let body = StreamBody::new(stream::iter(frames));
        Ok::<_, Infallible>(response.body(body).unwrap())
    }));
    let response = service.oneshot(ask("0123456789")).await.unwrap();
    drop(response.into_body().collect().await.unwrap());
    assert_eq!(used(&limiter, 1), 10);
}
