//! The ready-made stack: that all of its layers are there, each in its place.

use std::{
    collections::HashSet,
    convert::Infallible,
    future::pending,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::Instant;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn, util::BoxCloneService};
use tower_throttle::{
    BoxError, CacheLayer, Circuit, Dimension, FallbackLayer, IdempotencyKeyLayer, ReplayLayer,
    RetryAfterBackoffLayer, StackLayer, TimedOut, TimeoutLayer,
    fallback::ServedBy,
    provider::{Accounting, Charge, Provider, ProviderLayer, ProviderLimiter},
    retry::Attempts,
};

use crate::loopback::reqwest_client;

type Body = Full<Bytes>;

/// What a provider does with a request.
#[derive(Debug, Clone, Copy)]
enum Act {
    Answer,
    Late,
    Stall,
    Refuse,
    Busy,
    Break,
}

/// A provider that goes by a script, and then does the last thing in it for ever.
#[derive(Debug, Clone)]
struct Scripted {
    script: Arc<Mutex<Vec<Act>>>,
    keys: Arc<Mutex<Vec<Option<HeaderValue>>>>,
}

impl Scripted {
    fn new(script: &[Act]) -> Self {
        Self {
            script: Arc::new(Mutex::new(script.to_vec())),
            keys: Arc::default(),
        }
    }

    fn sent(&self) -> usize {
        self.keys.lock().unwrap().len()
    }

    fn then(&self, act: Act) {
        *self.script.lock().unwrap() = vec![act];
    }

    fn client(
        &self,
    ) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
    + Clone
    + Send
    + use<> {
        let this = self.clone();
        service_fn(move |request: Request<Body>| {
            let key = request.headers().get("idempotency-key").cloned();
            this.keys.lock().unwrap().push(key);
            let mut script = this.script.lock().unwrap();
            let act = if script.len() > 1 {
                script.remove(0)
            } else {
                script[0]
            };
            async move {
                let response = Response::builder().header("content-type", "text/event-stream");
                let (status, text) = match act {
                    Act::Answer => (
                        200,
                        "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\ndata: {\"choices\":[],\
                         \"usage\":{\"prompt_tokens\":5,\"completion_tokens\":5,\"total_tokens\":10}}\n\ndata: [DONE]\n\n",
                    ),
                    Act::Late => (
                        200,
                        "data: {\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
                    ),
                    Act::Stall => pending().await,
                    Act::Refuse => (429, "{}"),
                    Act::Busy => (503, "{}"),
                    Act::Break => (500, "{}"),
                };
                let response = response.status(status);
                let response = match act {
                    Act::Refuse | Act::Busy => response.header("retry-after", "7"),
                    _ => response,
                };
                Ok(response.body(Full::from(text)).unwrap())
            }
        })
    }
}

fn limits() -> ProviderLayer {
    let provider = Provider::new("p").rpm(600).tpm(100_000);
    ProviderLayer::new(provider.counting(Accounting::SETTLED))
}

fn ask(prompt: &str) -> Request<Body> {
    let body = format!(
        r#"{{"model":"m","stream":true,"max_tokens":50,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#
    );
    Request::post("http://provider/v1/chat/completions")
        .body(Full::from(body))
        .unwrap()
}

/// A client whose requests are all on the way before the first is answered.
fn slow(
    provider: &Scripted,
) -> impl Service<Request<Body>, Response = Response<Body>, Error = Infallible, Future: Send>
+ Clone
+ Send
+ use<> {
    provider.client().map_future(|answer| async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        answer.await
    })
}

fn is_ok<B>(answer: &Result<Response<B>, BoxError>) -> bool {
    answer
        .as_ref()
        .is_ok_and(|response| response.status().is_success())
}

fn requests(limiter: &ProviderLimiter) -> u64 {
    limiter.usage().get(Dimension::Requests).unwrap().used
}

#[tokio::test(start_paused = true)]
async fn each_layer_does_its_part_for_one_request() {
    use Act::{Answer, Late, Refuse, Stall};
    let provider = Scripted::new(&[Late, Stall, Refuse, Answer]);
    let limits = limits().on_drop(Charge::Reported);
    let limiter = limits.limiter().clone();
    let client = StackLayer::new(limits)
        .cache(CacheLayer::completions())
        .layer(provider.client());

    let begun = Instant::now();
    let response = client.clone().oneshot(ask("why")).await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(Attempts::of(&response).attempts(), 4);
    assert!(
        begun.elapsed() >= Duration::from_secs(30 + 7),
        "a timeout and a hint: {:?}",
        begun.elapsed()
    );
    let text = response.into_body().collect().await.unwrap().to_bytes();
    assert!(text.ends_with(b"data: [DONE]\n\n"), "{text:?}");

    let keys = provider.keys.lock().unwrap().clone();
    assert_eq!(keys.len(), 4);
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 1);
    assert!(keys[0].is_some());

    let usage = limiter.usage();
    assert_eq!(usage.in_flight, 0);
    assert_eq!(usage.get(Dimension::Tokens).unwrap().used, 10, "settled");

    // A hit meets nothing of all that.
    let counted = requests(&limiter);
    let again = client.oneshot(ask("why")).await.unwrap();
    let again = again.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(again, text);
    assert_eq!((provider.sent(), requests(&limiter)), (4, counted));
}

#[tokio::test(start_paused = true)]
async fn a_dead_provider_is_left_alone_by_all_and_asked_again_by_one() {
    let (first, second) = (Scripted::new(&[Act::Break]), Scripted::new(&[Act::Answer]));
    let circuit = Circuit::new().failures(3);
    let backup = StackLayer::new(limits()).layer(second.client());
    let client = StackLayer::new(limits())
        .circuit(circuit.clone())
        .fallback(FallbackLayer::new(backup).named("second"))
        .layer(first.client());

    for n in 0..100 {
        let response = client.clone().oneshot(ask("why")).await.unwrap();
        assert_eq!(response.status(), 200, "{n}");
        assert_eq!(ServedBy::of(&response).name(), Some("second"), "{n}");
    }
    assert!(circuit.is_open());
    assert!(first.sent() <= 6, "{}", first.sent());

    first.then(Act::Answer);
    tokio::time::sleep(Duration::from_secs(60)).await;
    let response = client.clone().oneshot(ask("why")).await.unwrap();
    assert!(ServedBy::of(&response).is_primary());
    assert!(!circuit.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_waited_out_by_all_where_nobody_else_can_answer() {
    let provider = Scripted::new(&[&[Act::Refuse; 100][..], &[Act::Answer]].concat());
    let client = StackLayer::new(limits()).layer(slow(&provider));
    let calls = (0..100).map(|_| client.clone().oneshot(ask("why")));
    for response in futures::future::join_all(calls).await {
        assert_eq!(response.unwrap().status(), 200);
    }
    assert_eq!(provider.sent(), 200);
}

#[tokio::test(start_paused = true)]
async fn where_nobody_else_can_answer_all_wait_until_the_provider_may_be_asked_again() {
    for (act, requests, refused) in [(Act::Break, 4, 5), (Act::Busy, 5, 5), (Act::Busy, 50, 50)] {
        let provider = Scripted::new(&[&vec![act; refused][..], &[Act::Answer]].concat());
        let circuit = Circuit::new();
        // Who finds that another one finds out waits for a time that chance draws.
        let retry = RetryAfterBackoffLayer::new()
            .retry_non_idempotent()
            .attempts(20);
        let client = StackLayer::new(limits())
            .circuit(circuit.clone())
            .retry(retry)
            .layer(slow(&provider));
        let calls = (0..requests).map(|_| client.clone().oneshot(ask("why")));
        for response in futures::future::join_all(calls).await {
            assert_eq!(response.unwrap().status(), 200, "{act:?} {requests}");
        }
        assert_eq!(provider.sent(), refused + requests);
        assert!(!circuit.is_open());
    }
    // One that stays down is asked by few.
    let provider = Scripted::new(&[Act::Break]);
    let client = StackLayer::new(limits()).layer(slow(&provider));
    let calls = (0..50).map(|_| client.clone().oneshot(ask("why")));
    let answers = futures::future::join_all(calls).await;
    assert!(answers.iter().all(|answer| !is_ok(answer)));
    assert!(provider.sent() < 60, "{}", provider.sent());
}

#[tokio::test(start_paused = true)]
async fn they_wait_however_long_the_one_takes_that_finds_out() {
    let provider = Scripted::new(&[&[Act::Busy; 20][..], &[Act::Answer]].concat());
    let inner = provider.client();
    let begun = Instant::now();
    let client = StackLayer::new(limits()).layer(inner.map_future(move |answer| async move {
        let takes = if begun.elapsed().is_zero() { 1 } else { 20 };
        tokio::time::sleep(Duration::from_secs(takes)).await;
        answer.await
    }));
    let calls = (0..20).map(|_| client.clone().oneshot(ask("why")));
    let answers = futures::future::join_all(calls).await;
    // Chance may make a few come back twice before the cooldown is over.
    let answered = answers.iter().filter(|answer| is_ok(answer)).count();
    assert!(answered >= 18, "{answered}");
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_is_left_alone_where_somebody_else_can_answer() {
    let (first, second) = (Scripted::new(&[Act::Refuse]), Scripted::new(&[Act::Answer]));
    let circuit = Circuit::new();
    let backup = StackLayer::new(limits()).layer(second.client());
    let client = StackLayer::new(limits())
        .circuit(circuit.clone())
        .fallback(FallbackLayer::new(backup))
        .layer(first.client());
    for _ in 0..10 {
        let response = client.clone().oneshot(ask("why")).await.unwrap();
        assert!(!ServedBy::of(&response).is_primary());
    }
    assert!(circuit.is_open());
}

/// A server that keeps to the IETF's draft refuses a key that it knows from another body.
#[tokio::test(start_paused = true)]
async fn a_fallback_asks_for_another_model_with_another_key() {
    let (first, second) = (Scripted::new(&[Act::Break]), Scripted::new(&[Act::Answer]));
    let backup = StackLayer::new(limits()).layer(second.client());
    let client = StackLayer::new(limits())
        .retry(RetryAfterBackoffLayer::new().attempts(2))
        .fallback(
            FallbackLayer::new(backup).map_request(|request: Request<Body>| {
                request.map(|_| Full::from(r#"{"model":"smaller"}"#))
            }),
        )
        .layer(first.client());
    client.clone().oneshot(ask("why")).await.unwrap();
    let [first, second] = [&first, &second].map(|of| of.keys.lock().unwrap().clone());
    assert_eq!(first.len(), 2);
    assert!(first[0].is_some() && first[0] == first[1]);
    assert!(second[0].is_some() && second[0] != first[0]);
    // One of the caller's own goes to both.
    let mut request = ask("why");
    let own = HeaderValue::from_static("own");
    request.headers_mut().insert("idempotency-key", own.clone());
    let (first, second) = (Scripted::new(&[Act::Break]), Scripted::new(&[Act::Answer]));
    let backup = StackLayer::new(limits()).layer(second.client());
    let client = StackLayer::new(limits())
        .fallback(FallbackLayer::new(backup))
        .layer(first.client());
    client.oneshot(request).await.unwrap();
    for of in [first, second] {
        assert_eq!(of.keys.lock().unwrap()[0].as_ref(), Some(&own));
    }
}

#[tokio::test(start_paused = true)]
async fn its_parts_can_be_chosen() {
    let name = http::HeaderName::from_static("x-key");
    let provider = Scripted::new(&[Act::Stall]);
    let client = StackLayer::new(limits())
        .idempotency_key(IdempotencyKeyLayer::new().name(name))
        .retry(RetryAfterBackoffLayer::new().attempts(1))
        .timeout(TimeoutLayer::new().attempt(Duration::from_secs(3)))
        .layer(provider.client());
    let begun = Instant::now();
    let error = client.oneshot(ask("why")).await.unwrap_err();
    assert_eq!(
        TimedOut::of(&error),
        Some(TimedOut::Attempt(Duration::from_secs(3)))
    );
    assert_eq!(begun.elapsed(), Duration::from_secs(3));
    assert_eq!(
        (provider.sent(), provider.keys.lock().unwrap()[0].clone()),
        (1, None)
    );
}

#[tokio::test(start_paused = true)]
async fn an_upload_of_a_minute_is_not_cut() {
    type Upload = tower_throttle::replay::body::ReplayBody<axum::body::Body>;
    let provider = service_fn(async |request: Request<Upload>| {
        let sent = request.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>(Response::new(axum::body::Body::from(sent)))
    });
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(StackLayer::new(limits()))
        .service(provider);
    let frames = futures::stream::iter(0..60).then(async |_| {
        tokio::time::sleep(Duration::from_secs(1)).await;
        Ok::<_, BoxError>(Bytes::from("x"))
    });
    let request = Request::post("/").body(axum::body::Body::from_stream(frames.boxed()));
    let begun = Instant::now();
    let response = client.oneshot(request.unwrap()).await.unwrap();
    assert_eq!(Attempts::of(&response).attempts(), 1);
    let echo = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!((echo.len(), begun.elapsed().as_secs()), (60, 60));
}

#[tokio::test(start_paused = true)]
async fn streamed_bodies_and_a_bound_on_the_whole_go_around_it() {
    let provider = service_fn(
        |request: Request<tower_throttle::replay::body::ReplayBody<axum::body::Body>>| async move {
            request.into_body().collect().await?;
            pending::<()>().await;
            Ok::<_, BoxError>(Response::new(axum::body::Body::empty()))
        },
    );
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(TimeoutLayer::whole(Duration::from_secs(45)))
        .layer(StackLayer::new(limits()))
        .service(provider);
    let begun = Instant::now();
    let frames = futures::stream::iter([Ok::<_, BoxError>(Bytes::from("a")), Ok("b".into())]);
    let request = Request::post("/").body(axum::body::Body::from_stream(frames));
    let error = client.oneshot(request.unwrap()).await.unwrap_err();
    assert_eq!(
        TimedOut::of(&error),
        Some(TimedOut::Call(Duration::from_secs(45)))
    );
    assert_eq!(begun.elapsed(), Duration::from_secs(45));
}

/// What can't be built is no stack. Nothing is called.
#[test]
fn it_stands_in_front_of_every_client() {
    let http = reqwest_client();
    let backup = StackLayer::new(limits()).layer(http.clone());
    let layer = StackLayer::new(limits())
        .fallback(FallbackLayer::new(backup))
        .cache(CacheLayer::completions());
    let reqwest = layer.layer(http.clone());
    let _: BoxCloneService<reqwest::Request, reqwest::Response, BoxError> =
        BoxCloneService::new(reqwest);

    let middleware = tower_throttle::LayerMiddleware::new(StackLayer::new(limits()));
    let _ = reqwest_middleware::ClientBuilder::new(http)
        .with(middleware)
        .build();

    let hyper = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<Full<Bytes>>();
    let hyper = StackLayer::new(limits())
        .cache(CacheLayer::completions())
        .layer(hyper);
    let _ = BoxCloneService::new(hyper.map_request(|request: Request<Body>| request));

    let shown = format!(
        "{:?}",
        StackLayer::new(limits()).cache(CacheLayer::completions())
    );
    for part in ["CacheLayer", "retry", "limits", "circuit", "timeout"] {
        assert!(shown.contains(part), "{shown}");
    }
}
