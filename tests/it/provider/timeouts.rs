//! What a request costs whose response does not arrive completely.

use std::{convert::Infallible, future::pending, time::Duration};

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    sync::oneshot,
    time::{Instant, sleep},
};
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};
use tower_throttle::{
    RetryAfterBackoffLayer, TimedOut, TimeoutLayer, Tokens,
    provider::{Accounting, Charge, Provider, ProviderLayer, ProviderLimiter},
    retry::Backoff,
};

use super::{ask, nth};
use crate::{
    loopback::{reqwest_builder, reqwest_client},
    support::{ms, poll_once},
};

type Req = Request<&'static str>;
type Answer = UnsyncBoxBody<Bytes, Infallible>;
type Counted = ProviderLayer<fn(&Req) -> Tokens>;

const BEGUN: &str = "data: {\"type\":\"message_start\",\"message\":{\"usage\":\
    {\"input_tokens\":25,\"cache_read_input_tokens\":0,\"output_tokens\":1}}}\n\n";
const USED_7: &str =
    "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":4,\"completion_tokens\":3}}\n\n";
const HELLO: &str = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n";

/// Limits on requests and tokens, and a layer that reserves 100 of the latter.
fn limits(accounting: Accounting, on_drop: Charge) -> (ProviderLimiter, Counted) {
    let provider = Provider::new("p").rpm(60).tpm(1_000).counting(accounting);
    let limiter = ProviderLimiter::new(provider).on_drop(on_drop);
    let layer = ProviderLayer::from(limiter.clone());
    (limiter, layer.estimate(|_| Tokens::new(40, 60)))
}

/// Requests that count, tokens that count, tokens that are held back, requests in flight, and requests that wait.
fn counts(limiter: &ProviderLimiter) -> [u64; 5] {
    let usage = limiter.usage();
    let (requests, tokens) = (nth(&usage, 0), nth(&usage, 1));
    [
        requests.used,
        tokens.used,
        tokens.reserved + requests.reserved,
        usage.in_flight,
        usage.waiting,
    ]
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// Never answers.
async fn silent(_: Req) -> Result<Response<Answer>, Infallible> {
    pending().await
}

/// Begins to answer, and stalls.
async fn stalls(request: Req) -> Result<Response<Answer>, Infallible> {
    let begun = Ok(Frame::data(Bytes::from(*request.body())));
    let body = StreamBody::new(stream::iter([begun]).chain(stream::pending()));
    let response = Response::builder().header("content-type", "text/event-stream");
    Ok(response.body(body.boxed_unsync()).unwrap())
}

async fn cut<B: Body<Error = BoxError> + Unpin>(mut body: B) -> TimedOut {
    assert!(body.frame().await.unwrap().is_ok());
    let error = body.frame().await.unwrap().err().unwrap();
    // The body still lives.
    TimedOut::of(&error).unwrap()
}

/// The default for each way to count, and what a response costs that has reported so much.
fn charges(reported: u64) -> [(Accounting, Charge, u64); 6] {
    [
        (Accounting::OPENAI, Charge::default(), 100),
        (Accounting::SETTLED, Charge::default(), 100),
        (Accounting::ANTHROPIC, Charge::default(), 100),
        (Accounting::OPENAI, Charge::Reported, 100),
        (Accounting::SETTLED, Charge::Reported, reported),
        (Accounting::ANTHROPIC, Charge::Reported, reported),
    ]
}

#[tokio::test(start_paused = true)]
async fn a_request_without_a_response_costs_as_set() {
    let attempt = TimeoutLayer::new().attempt(seconds(30));
    let whole = TimeoutLayer::whole(seconds(30));
    for (accounting, charge, tokens) in charges(0) {
        let expected = [1, tokens, 0, 0, 0];
        for timeout in [attempt, whole] {
            let (limiter, layer) = limits(accounting, charge);
            let inside = layer.layer(timeout.layer(service_fn(silent)));
            assert!(inside.oneshot(ask("")).await.is_err());
            assert_eq!(counts(&limiter), expected, "{timeout:?} inside");

            let (limiter, layer) = limits(accounting, charge);
            let outside = timeout.layer(layer.layer(service_fn(silent)));
            let mut call = Box::pin(outside.oneshot(ask("")));
            assert!(call.as_mut().await.is_err());
            // The future still lives.
            assert_eq!(counts(&limiter), expected, "{timeout:?} outside");
        }
        let (limiter, layer) = limits(accounting, charge);
        let call = layer.layer(service_fn(silent)).oneshot(ask(""));
        tokio::time::timeout(seconds(9), call).await.unwrap_err();
        assert_eq!(counts(&limiter), expected, "dropped");

        let (limiter, layer) = limits(accounting, charge);
        let breaks = service_fn(async |_: Req| {
            sleep(ms(1)).await;
            let error = std::io::ErrorKind::ConnectionReset;
            Err::<Response<Answer>, _>(std::io::Error::from(error))
        });
        layer.layer(breaks).oneshot(ask("")).await.unwrap_err();
        assert_eq!(counts(&limiter), expected, "broken");
    }
}

#[tokio::test(start_paused = true)]
async fn an_incomplete_response_costs_as_set() {
    for (begun, reported) in [(HELLO, 0), (BEGUN, 26), (USED_7, 7)] {
        for (accounting, charge, tokens) in charges(reported) {
            // The final usage settles the request, however the response ends.
            let is_final = begun == USED_7 && accounting != Accounting::OPENAI;
            let expected = [1, if is_final { 7 } else { tokens }, 0, 0, 0];
            let between = TimedOut::BetweenChunks(seconds(20));
            let timeout = TimeoutLayer::new().between_chunks(seconds(20));
            let (limiter, layer) = limits(accounting, charge);
            let inside = layer.layer(timeout.layer(service_fn(stalls)));
            let mut body = inside.oneshot(ask(begun)).await.unwrap().into_body();
            assert_eq!(cut(&mut body).await, between);
            assert_eq!(counts(&limiter), expected, "{begun} inside");

            for (timeout, why) in [
                (timeout, between),
                (TimeoutLayer::whole(seconds(9)), TimedOut::Call(seconds(9))),
            ] {
                let (limiter, layer) = limits(accounting, charge);
                let outside = timeout.layer(layer.layer(service_fn(stalls)));
                let mut body = outside.oneshot(ask(begun)).await.unwrap().into_body();
                assert_eq!(cut(&mut body).await, why);
                assert_eq!(counts(&limiter), expected, "{begun} outside");
            }

            let (limiter, layer) = limits(accounting, charge);
            let service = layer.layer(service_fn(stalls));
            let mut body = service.oneshot(ask(begun)).await.unwrap().into_body();
            body.frame().await.unwrap().unwrap();
            drop(body);
            assert_eq!(counts(&limiter), expected, "{begun} dropped");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_complete_response_without_usage_is_no_drop() {
    for charge in [Charge::Reserved, Charge::Reported] {
        for body in ["", HELLO, BEGUN] {
            let (limiter, layer) = limits(Accounting::ANTHROPIC, charge);
            let answers = service_fn(async |request: Req| {
                let body = Full::new(Bytes::from(*request.body())).boxed_unsync();
                let response = Response::builder().header("content-type", "text/event-stream");
                Ok::<_, Infallible>(response.body(body).unwrap())
            });
            let response = layer.layer(answers).oneshot(ask(body)).await.unwrap();
            response.into_body().collect().await.unwrap();
            assert_eq!(counts(&limiter), [1, 100, 0, 0, 0], "{charge:?} {body}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_costs_as_set() {
    for (charge, tokens) in [(Charge::Reserved, 300), (Charge::Reported, 0)] {
        let (limiter, layer) = limits(Accounting::ANTHROPIC, charge);
        let retry = RetryAfterBackoffLayer::new()
            .attempts(3)
            .retry_non_idempotent()
            .backoff(Backoff::new(ms(1), ms(1)));
        let service = ServiceBuilder::new()
            .layer(TimeoutLayer::whole(seconds(600)))
            .layer(retry)
            .layer(layer)
            .layer(TimeoutLayer::new().attempt(seconds(30)))
            .service_fn(silent);
        let error = service.oneshot(ask("")).await.unwrap_err();
        assert_eq!(TimedOut::of(&error), Some(TimedOut::Attempt(seconds(30))));
        // The first request is over a minute old; its tokens count from its end.
        assert_eq!(counts(&limiter), [2, tokens, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_cut_while_it_waits_in_the_queue() {
    let provider = Provider::new("p").rpm(60).tpm(1_000).concurrent(1);
    let limiter = ProviderLimiter::new(provider.counting(Accounting::SETTLED));
    let layer: Counted = ProviderLayer::from(limiter.clone()).estimate(|_| Tokens::new(40, 60));
    let service = layer.layer(service_fn(stalls));
    let response = service.clone().oneshot(ask(HELLO)).await.unwrap();
    let waiter = TimeoutLayer::whole(seconds(5)).layer(service.clone());
    let start = Instant::now();
    let mut call = Box::pin(waiter.oneshot(ask(HELLO)));
    assert!(poll_once(call.as_mut()).await.is_none());
    assert_eq!(counts(&limiter), [1, 100, 0, 1, 1]);
    let error = call.as_mut().await.unwrap_err();
    assert_eq!(TimedOut::of(&error), Some(TimedOut::Call(seconds(5))));
    assert_eq!(start.elapsed(), seconds(5));
    assert_eq!(counts(&limiter), [1, 100, 0, 1, 0]);
    drop(response);
    service.oneshot(ask(HELLO)).await.unwrap();
    assert_eq!(counts(&limiter)[3..], [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_reservation_costs_as_set() {
    for (charge, tokens) in [(Charge::Reserved, 100), (Charge::Reported, 0)] {
        let (limiter, _) = limits(Accounting::SETTLED, charge);
        drop(limiter.try_acquire(Tokens::new(40, 60)).unwrap());
        assert_eq!(counts(&limiter), [1, tokens, 0, 0, 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_cut_is_a_refusal_all_the_same() {
    let (limiter, layer) = limits(Accounting::SETTLED, Charge::default());
    let refuses = service_fn(async |request: Req| {
        let mut response = stalls(request).await?;
        *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
        response.headers_mut().insert("retry-after", 60.into());
        Ok::<_, Infallible>(response)
    });
    let service = TimeoutLayer::whole(seconds(2)).layer(layer.layer(refuses));
    service.oneshot(ask("{")).await.unwrap_err();
    assert_eq!(counts(&limiter), [1, 0, 0, 0, 0]);
    assert!(limiter.usage().paused_for > seconds(50));
}

#[tokio::test(start_paused = true)]
async fn what_is_cut_teaches_no_estimate() {
    let (limiter, layer) = limits(Accounting::ANTHROPIC, Charge::Reported);
    let layer = layer.learn_estimates(true);
    let timeout = TimeoutLayer::new().between_chunks(seconds(20));
    let service = layer.layer(timeout.layer(service_fn(stalls)));
    for _ in 0..20 {
        let response = service.clone().oneshot(ask(BEGUN)).await.unwrap();
        cut(response.into_body()).await;
    }
    let _held = service.oneshot(ask(BEGUN)).await.unwrap();
    assert_eq!(counts(&limiter)[2], 100);
}

/// A server that sends this, and then nothing for ever; it says when the client has gone.
async fn slowloris(sends: &'static [u8]) -> (String, oneshot::Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/v1/messages", listener.local_addr().unwrap());
    let (gone, is_gone) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 4_096];
        assert!(stream.read(&mut buffer).await.unwrap() > 0);
        stream.write_all(sends).await.unwrap();
        while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {}
        gone.send(()).ok();
    });
    (url, is_gone)
}

const STALLS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\
    transfer-encoding: chunked\r\n\r\n7\r\ndata: {\r\n";

const ASKS: &str = r#"{"max_tokens":60}"#;

/// What is cut where, with what the error says.
fn cuts() -> [(Option<TimeoutLayer>, TimeoutLayer, &'static [u8], TimedOut); 3] {
    let none = TimeoutLayer::new();
    let attempt = none.attempt(ms(150));
    let between = none.between_chunks(ms(150));
    let whole = TimeoutLayer::whole(ms(150));
    [
        (None, attempt, b"", TimedOut::Attempt(ms(150))),
        (None, between, STALLS, TimedOut::BetweenChunks(ms(150))),
        (Some(whole), none, STALLS, TimedOut::Call(ms(150))),
    ]
}

async fn frees<E: Into<BoxError>>(
    answer: impl Future<Output = Result<Bytes, E>>,
    limiter: &ProviderLimiter,
    is_gone: oneshot::Receiver<()>,
    why: TimedOut,
) {
    let start = Instant::now();
    let error = answer.await.err().unwrap().into();
    assert_eq!(TimedOut::of(&error), Some(why), "{error:?}");
    assert!(start.elapsed() >= ms(150) && start.elapsed() < seconds(10));
    assert_eq!(counts(limiter), [1, 0, 0, 0, 0]);
    // The connection is closed, not left to stall.
    tokio::time::timeout(seconds(10), is_gone)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test]
async fn a_server_that_stalls_holds_nothing_of_hypers() {
    for (outside, inside, sends, why) in cuts() {
        let (url, is_gone) = slowloris(sends).await;
        let (limiter, _) = limits(Accounting::ANTHROPIC, Charge::Reported);
        let service = ServiceBuilder::new()
            .layer(outside.unwrap_or(TimeoutLayer::new()))
            .layer(ProviderLayer::from(limiter.clone()))
            .layer(inside)
            .service(Client::builder(TokioExecutor::new()).build_http());
        let request = Request::post(url)
            .body(Full::new(Bytes::from(ASKS)))
            .unwrap();
        let answer = async {
            let response = service.oneshot(request).await?;
            Ok::<_, BoxError>(response.into_body().collect().await?.to_bytes())
        };
        frees(answer, &limiter, is_gone, why).await;
    }
}

#[tokio::test]
async fn a_server_that_stalls_holds_nothing_of_reqwests() {
    for (outside, inside, sends, why) in cuts() {
        let (url, is_gone) = slowloris(sends).await;
        let (limiter, _) = limits(Accounting::ANTHROPIC, Charge::Reported);
        let client = reqwest_client();
        let request = client.post(url).body(ASKS).build().unwrap();
        let service = ServiceBuilder::new()
            .layer(outside.unwrap_or(TimeoutLayer::new()))
            .layer(ProviderLayer::from(limiter.clone()))
            .layer(inside)
            .service(client);
        let answer = async {
            let response: reqwest::Response = service.oneshot(request).await?;
            Ok::<_, BoxError>(response.bytes().await?)
        };
        frees(answer, &limiter, is_gone, why).await;
    }
}

#[tokio::test]
async fn reqwests_own_timeout_costs_as_set() {
    for sends in [b"", STALLS] {
        for (charge, tokens) in [(Charge::Reserved, 100), (Charge::Reported, 0)] {
            let (url, is_gone) = slowloris(sends).await;
            let (limiter, layer) = limits(Accounting::ANTHROPIC, charge);
            let client = reqwest_builder().read_timeout(ms(150)).build().unwrap();
            let request = client.post(url).body(ASKS).build().unwrap();
            let layer = layer.estimate(|_: &reqwest::Request| Tokens::new(40, 60));
            let answer = async {
                let response = layer.layer(client).oneshot(request).await?;
                Ok::<_, BoxError>(response.bytes().await?)
            };
            answer.await.unwrap_err();
            assert_eq!(counts(&limiter), [1, tokens, 0, 0, 0]);
            is_gone.await.unwrap();
        }
    }
}
