//! Waits, bounds, budget, and what a response future holds while it waits.

use std::{
    cell::Cell,
    convert::Infallible,
    future::{Future, Ready, poll_fn, ready},
    pin::pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use tokio::time::{Instant, sleep, timeout};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimit, service_fn,
    util::BoxCloneService,
};
use tower_throttle::{
    BoxError, Circuit, Hint, Outcome, Quota, Rejected, ResponseHead, RetryAfterBackoffLayer,
    StreamErrorLayer, TimedOut, TokenBucketLayer, TokenBucketLimiter, TryClone,
    provider::{Provider, ProviderLayer},
    retry::{Attempts, Backoff, Budget, BudgetRegistry, Jitter, Policy, RetryAction, policy_fn},
};

use crate::support::Listening;

type Req = Request<&'static str>;
type Res = Response<()>;
type Answer = Result<Res, BoxError>;

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// No retry but by invitation.
fn empty() -> Budget {
    Budget::new(0, Quota::per_second(0))
}

fn answer(status: u16, fields: &[(&'static str, &str)]) -> Res {
    let mut response = Response::new(());
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    for (name, value) in fields {
        let value = HeaderValue::from_str(value).unwrap();
        response.headers_mut().append(*name, value);
    }
    response
}

fn get() -> Req {
    Request::new("")
}

fn post() -> Req {
    let mut request = get();
    *request.method_mut() = Method::POST;
    request
}

/// When the server was called.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<Instant>>>);

impl Log {
    fn calls(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// The waits between the calls.
    fn waits(&self) -> Vec<Duration> {
        let calls = self.0.lock().unwrap();
        calls.windows(2).map(|pair| pair[1] - pair[0]).collect()
    }
}

/// A server that answers the n-th call, counted from 0, with `reply(n)`. Its instances must be polled ready.
#[derive(Clone)]
struct Server<F> {
    log: Log,
    reply: F,
    ready: Unready,
}

/// Readiness, which a clone does not inherit.
#[derive(Default)]
struct Unready(bool);

impl Clone for Unready {
    fn clone(&self) -> Self {
        Self(false)
    }
}

fn server<F: Fn(usize) -> Answer + Clone>(reply: F) -> (Server<F>, Log) {
    let log = Log::default();
    let server = Server {
        log: log.clone(),
        reply,
        ready: Unready(false),
    };
    (server, log)
}

impl<F: Fn(usize) -> Answer, R> Service<R> for Server<F> {
    type Response = Res;
    type Error = BoxError;
    type Future = Ready<Answer>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.ready = Unready(true);
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: R) -> Self::Future {
        assert!(
            std::mem::take(&mut self.ready.0),
            "called without being ready"
        );
        let n = self.log.calls();
        self.log.0.lock().unwrap().push(Instant::now());
        ready((self.reply)(n))
    }
}

/// Sends one request, and says how long it took.
async fn send<S, R>(service: S, request: R) -> (Result<S::Response, S::Error>, Duration)
where
    S: Service<R>,
{
    let start = Instant::now();
    let result = service.oneshot(request).await;
    (result, start.elapsed())
}

async fn poll_once<F: Future>(future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    poll_fn(|cx| {
        Poll::Ready(match future.as_mut().poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

// ===== waits =====

#[tokio::test(start_paused = true)]
async fn a_hint_is_waited_out_and_at_most_a_tenth_more() {
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    for (fields, hint) in [
        (&[("retry-after", "20")][..], s(20)),
        (&[("retry-after", "1.5")], ms(1_500)),
        (
            &[("retry-after-ms", "250.5"), ("retry-after", "9")],
            ms(250),
        ),
        (
            &[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), date],
            s(30),
        ),
    ] {
        for seed in 0..20 {
            let (inner, log) = server(move |n| Ok(answer([429, 200][n], fields)));
            let layer = RetryAfterBackoffLayer::new().budget(empty()).seed(seed);
            let (result, took) = send(layer.layer(inner), get()).await;
            assert_eq!(result.unwrap().status(), 200);
            assert_eq!(log.calls(), 2);
            // The timer ticks once a millisecond.
            assert!(
                took >= hint && took <= hint + hint / 10 + ms(1),
                "{fields:?}: {took:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn more_than_a_second_is_never_added_to_a_hint() {
    let mut most = Duration::ZERO;
    for seed in 0..200 {
        let (inner, _) = server(|n| Ok(answer([429, 200][n], &[("retry-after", "50")])));
        let layer = RetryAfterBackoffLayer::new().seed(seed);
        let (_, took) = send(layer.layer(inner), get()).await;
        assert!(took >= s(50) && took <= s(51) + ms(1), "{took:?}");
        most = most.max(took);
    }
    assert!(most > ms(50_900), "chance plays no part: {most:?}");
}

/// Sends 20 requests at once, and returns how long each took.
async fn twenty<F: Fn(usize) -> Answer + Clone>(
    layer: &RetryAfterBackoffLayer,
    reply: F,
) -> Vec<Duration> {
    let clients = (0..20).map(|_| {
        let (inner, _) = server(reply.clone());
        send(layer.layer(inner), get())
    });
    let all = join_all(clients).await;
    let took = all.into_iter().map(|(result, took)| {
        assert_eq!(result.unwrap().status(), 200);
        took
    });
    took.collect()
}

/// Asserts that all are within the range, and that no tenth of it has more than half of them.
fn assert_spread(took: &[Duration], least: Duration, most: Duration) {
    assert!(
        took.iter().all(|at| *at >= least && *at <= most + ms(1)),
        "{least:?} to {most:?}: {took:?}"
    );
    let tenth = (most - least) / 10;
    let crowd = |from: Duration| {
        let near = |at: &&Duration| **at >= from && **at < from + tenth;
        took.iter().filter(near).count()
    };
    let most_at_once = took.iter().map(|from| crowd(*from)).max();
    assert!(most_at_once <= Some(took.len() / 2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn clients_are_spread_after_a_hint_at_max_backoff() {
    let reply = |n: usize| Ok(answer([503, 200][n], &[("retry-after", "60")]));
    let layer = RetryAfterBackoffLayer::new().seed(1);
    assert_spread(&twenty(&layer, reply).await, s(60), s(61));
}

#[tokio::test(start_paused = true)]
async fn clients_are_spread_after_a_hint_at_the_deadline() {
    let reply = |n: usize| Ok(answer([429, 200][n], &[("retry-after", "10")]));
    let layer = RetryAfterBackoffLayer::new().seed(1).deadline(s(10));
    assert_spread(&twenty(&layer, reply).await, s(10), s(11));
}

#[tokio::test(start_paused = true)]
async fn clients_are_spread_below_max_backoff() {
    let reply = |n: usize| Ok(answer([500, 200][n], &[]));
    for (jitter, least) in [
        (Jitter::Full, 0),
        (Jitter::Equal, 5_000),
        (Jitter::Decorrelated, 1_000),
    ] {
        let base = match jitter {
            Jitter::Decorrelated => s(1),
            _ => s(100),
        };
        let most = match jitter {
            Jitter::Decorrelated => s(3),
            _ => s(10),
        };
        let layer = RetryAfterBackoffLayer::new()
            .seed(1)
            .no_budget()
            .backoff(Backoff::new(base, s(100)).jitter(jitter))
            .max_backoff(s(10));
        assert_spread(&twenty(&layer, reply).await, ms(least), most);
    }
}

#[tokio::test(start_paused = true)]
async fn clients_are_spread_after_a_hint_near_zero() {
    let reply = |n: usize| Ok(answer([429, 200][n], &[("retry-after-ms", "49")]));
    let layer = RetryAfterBackoffLayer::new().seed(1).no_budget();
    assert_spread(&twenty(&layer, reply).await, ms(49), ms(549));
}

#[tokio::test(start_paused = true)]
async fn clients_are_spread_after_an_open_circuit() {
    let circuit = Circuit::new()
        .failures(1)
        .cooldown(Duration::ZERO, Duration::ZERO)
        .longest_hint(s(50));
    circuit.enter().unwrap().failed(Some(s(600)));
    let left = circuit.retry_after().unwrap();
    assert!(left >= s(50) && left <= s(51), "{left:?}");
    let layer = RetryAfterBackoffLayer::new()
        .seed(1)
        .wait_for_circuit()
        .max_backoff(left);
    let reply = move |n: usize| match n {
        0 => circuit
            .enter()
            .map(|_| answer(200, &[]))
            .map_err(Into::into),
        _ => Ok(answer(200, &[])),
    };
    assert_spread(&twenty(&layer, reply).await, left, left + s(1));
}

#[tokio::test(start_paused = true)]
async fn an_open_circuit_may_last_max_backoff_and_jitter() {
    for (hint, expected) in [(60, (200, 2)), (62, (0, 1))] {
        let circuit = Circuit::new().failures(1).longest_hint(s(90));
        circuit.enter().unwrap().failed(Some(s(hint)));
        assert!(circuit.retry_after().unwrap() > s(hint));
        let (inner, log) = server(move |_| {
            circuit.enter()?.succeeded();
            Ok(answer(200, &[]))
        });
        let layer = RetryAfterBackoffLayer::new()
            .wait_for_circuit()
            .max_backoff(s(60));
        let (result, _) = send(layer.layer(inner), get()).await;
        let status = result.map_or(0, |response| response.status().as_u16());
        assert_eq!((status, log.calls()), expected, "{hint}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_misdirected_request_is_sent_again_once() {
    for (statuses, calls) in [
        ([421, 421, 200], 2),
        ([425, 421, 200], 2),
        ([421, 503, 200], 3),
        ([503, 425, 200], 3),
        ([503, 503, 200], 3),
    ] {
        let (inner, log) = server(move |n| Ok(answer(statuses[n], &[])));
        send(RetryAfterBackoffLayer::new().layer(inner), get())
            .await
            .0
            .unwrap();
        assert_eq!(log.calls(), calls, "{statuses:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_above_the_ceiling_hands_on_the_response_at_once_and_untouched() {
    for hint in ["61", "60.001", "99999999999999999999999999"] {
        let (inner, log) = server(move |_| Ok(answer(429, &[("retry-after", hint)])));
        let (result, took) = send(RetryAfterBackoffLayer::new().layer(inner), get()).await;
        let response = result.unwrap();
        assert_eq!(response.status(), 429);
        assert_eq!(response.headers()["retry-after"], hint);
        assert_eq!(response.headers().len(), 1);
        assert!(response.extensions().is_empty());
        assert_eq!((took, log.calls()), (Duration::ZERO, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_hint_the_waits_grow_to_the_cap_and_chance_takes_from_them() {
    let most = [100, 200, 400, 800, 1_000, 1_000].map(ms);
    for (jitter, least) in [
        (Jitter::Full, [0; 6].map(ms)),
        (Jitter::Equal, [50, 100, 200, 400, 500, 500].map(ms)),
        (Jitter::Decorrelated, [100; 6].map(ms)),
    ] {
        for seed in 0..20 {
            let (inner, log) = server(|_| Ok(answer(500, &[])));
            let layer = RetryAfterBackoffLayer::new()
                .attempts(7)
                .backoff(Backoff::new(ms(100), ms(1_000)).jitter(jitter))
                .no_budget()
                .seed(seed);
            let (result, _) = send(layer.layer(inner), get()).await;
            assert_eq!(result.unwrap().status(), 500);
            let waits = log.waits();
            assert_eq!(waits.len(), 6);
            for (n, wait) in waits.iter().enumerate() {
                let most = match jitter {
                    Jitter::Decorrelated if n == 0 => ms(300),
                    Jitter::Decorrelated => (waits[n - 1] * 3).min(ms(1_000)),
                    _ => most[n],
                };
                assert!(
                    *wait >= least[n] && *wait <= most + ms(1),
                    "{jitter:?}: {waits:?}"
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_our_own_is_cut_to_the_ceiling() {
    let (inner, log) = server(|_| Err("down".into()));
    let layer = RetryAfterBackoffLayer::new()
        .policy(|_: &Req, _: Result<&Res, &BoxError>| RetryAction::retry())
        .backoff(Backoff::new(s(100), s(100)).jitter(Jitter::Equal))
        .max_backoff(s(10));
    let (result, took) = send(layer.layer(inner), get()).await;
    assert_eq!(result.unwrap_err().to_string(), "down");
    assert_eq!(log.calls(), 5);
    // Half of it is certain, also of one that is cut.
    assert!(took >= s(20) && took <= s(40) + ms(4), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_layer_with_a_seed_waits_the_same_each_time() {
    let run = async |seed| {
        let (inner, log) = server(|n| Ok(answer(503, &[("retry-after", "7")][n % 2..])));
        let layer = RetryAfterBackoffLayer::new().seed(seed);
        send(layer.layer(inner), get()).await.0.unwrap();
        log.waits()
    };
    let first = run(7).await;
    assert_eq!(first.len(), 4);
    assert_eq!(first, run(7).await);
    assert_ne!(first, run(8).await);
}

/// Sends a request, whose first response is this one, and returns the wait for the second.
async fn wait_after(first: Res) -> Option<Duration> {
    let (inner, log) = server(move |n| match n {
        0 => Ok(first.clone()),
        _ => Ok(answer(200, &[])),
    });
    let layer = RetryAfterBackoffLayer::new()
        .backoff(Backoff::new(ms(1), ms(1)))
        .max_backoff(s(300));
    send(layer.layer(inner), post()).await.0.unwrap();
    log.waits().first().copied()
}

#[tokio::test(start_paused = true)]
async fn the_reset_of_a_limit_that_is_used_up_is_the_wait() {
    const BACKOFF: Option<u64> = Some(0);
    let left = ("x-ratelimit-remaining-requests", "0");
    let reset = ("x-ratelimit-reset-requests", "42s");
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    for (status, fields, expected) in [
        (429, &[left, reset][..], Some(42)),
        (429, &[left, reset, ("retry-after", "5")], Some(5)),
        (429, &[left, reset, ("retry-after-ms", "9000")], Some(9)),
        (
            429,
            &[("x-ratelimit-remaining-requests", "1"), reset],
            BACKOFF,
        ),
        (429, &[reset], BACKOFF),
        (429, &[left], BACKOFF),
        // The longest of all that are used up.
        (
            429,
            &[
                left,
                reset,
                ("x-ratelimit-remaining-tokens", "0"),
                ("x-ratelimit-reset-tokens", "1m10s"),
                ("x-ratelimit-remaining-project-tokens", "9"),
                ("x-ratelimit-reset-project-tokens", "2m0s"),
            ],
            Some(70),
        ),
        // GitHub.
        (
            403,
            &[
                ("x-ratelimit-remaining", "0"),
                ("x-ratelimit-reset", "2000000030"),
                ("date", "Wed, 18 May 2033 03:33:20 GMT"),
            ],
            Some(30),
        ),
        (403, &[("x-ratelimit-remaining", "0")], BACKOFF),
        (
            403,
            &[("x-ratelimit-remaining", "7"), ("x-ratelimit-reset", "9")],
            None,
        ),
        // IETF and Anthropic.
        (429, &[("ratelimit", r#""default";r=0;t=30"#)], Some(30)),
        (
            429,
            &[
                ("anthropic-ratelimit-tokens-remaining", "0"),
                ("anthropic-ratelimit-tokens-reset", "1994-11-06T08:50:02Z"),
                date,
            ],
            Some(25),
        ),
        // An overload and a request that is too large are not about that limit.
        (503, &[left, reset], None),
        (413, &[left, reset], None),
        (500, &[left, reset], None),
    ] {
        let wait = wait_after(answer(status, fields)).await;
        let Some(expected) = expected else {
            assert_eq!(wait, None, "{status} {fields:?}");
            continue;
        };
        let least = s(expected);
        let wait = wait.unwrap_or_else(|| panic!("{status} {fields:?}"));
        let most = least + (least / 10).min(s(1)) + ms(2);
        assert!(
            wait >= least && wait <= most,
            "{status} {fields:?}: {wait:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_in_the_extensions_comes_first() {
    for (status, fields, expected) in [
        (429, &[][..], 42),
        (503, &[], 42),
        (429, &[("retry-after", "5")], 42),
        (429, &[("x-should-retry", "true")], 42),
    ] {
        let mut first = answer(status, fields);
        let hint = Hint::new(Some(s(expected)), None);
        first.extensions_mut().insert(hint);
        let wait = wait_after(first).await.unwrap();
        assert!(wait >= s(expected) && wait <= s(expected + 1) + ms(1));
    }
    let mut first = answer(429, &[("x-should-retry", "false")]);
    first.extensions_mut().insert(Hint::new(Some(s(42)), None));
    assert_eq!(wait_after(first).await, None);
}

/// Returns how long a retry waits around a layer that reads error bodies.
async fn wait_after_body<L>(
    layer: &L,
    status: u16,
    kind: &'static str,
    body: &'static str,
) -> Duration
where
    L: Layer<BoxCloneService<Upload, Response<Full<Bytes>>, BoxError>>,
    L::Service: Service<Upload, Response: ResponseHead, Error = BoxError> + Clone,
{
    let calls = Arc::new(AtomicUsize::new(0));
    let server = service_fn(move |_: Upload| {
        let (status, body) = match calls.fetch_add(1, Ordering::Relaxed) {
            0 => (status, body),
            _ => (200, "{}"),
        };
        let response = Response::builder()
            .status(status)
            .header("content-type", kind);
        ready(Ok::<_, BoxError>(response.body(Full::from(body)).unwrap()))
    });
    let layer = RetryAfterBackoffLayer::new()
        .backoff(Backoff::new(ms(1), ms(1)))
        .layer(layer.layer(BoxCloneService::new(server)));
    let request = Request::post("/").body(Full::from("{}")).unwrap();
    let response = layer.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200, "{status} {body}");
    Attempts::of(&response).total_delay()
}

type Upload = Request<Full<Bytes>>;

const JSON: &str = "application/json";
const GEMINI: &str = concat!(
    r#"{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"m","details":[{"@type":"#,
    r#""type.googleapis.com/google.rpc.RetryInfo","retryDelay":"37s"}]}}"#,
);
const IN_WORDS: &str =
    r#"{"error":{"code":"rate_limit_exceeded","message":"Please try again in 20s."}}"#;
const OVERLOADED: &str =
    r#"{"error":{"code":"engine_overloaded","message":"Overloaded. Try again in 15 seconds."}}"#;
const IN_STREAM: &str = concat!(
    r#"data: {"error":{"code":"rate_limit_exceeded","message":"Please try again in 20s."}}"#,
    "\n\n",
);

#[tokio::test(start_paused = true)]
async fn a_wait_in_a_body_that_was_read_is_waited_for() {
    let provider = || ProviderLayer::new(Provider::new("test"));
    for (status, kind, body, expected) in [
        (429, JSON, GEMINI, 37),
        (429, JSON, IN_WORDS, 20),
        (403, JSON, IN_WORDS, 20),
        (503, JSON, OVERLOADED, 15),
        (200, "text/event-stream", IN_STREAM, 20),
    ] {
        let range = s(expected)..=s(expected + 1);
        let wait = wait_after_body(&StreamErrorLayer::new(), status, kind, body).await;
        assert!(range.contains(&wait), "{status} {body}: {wait:?}");
        if status != 200 {
            let wait = wait_after_body(&provider(), status, kind, body).await;
            assert!(range.contains(&wait), "{status} {body}: {wait:?}");
        }
    }
}

// ===== bounds =====

#[tokio::test(start_paused = true)]
async fn the_request_is_sent_as_often_as_it_may_be_and_no_more() {
    for (attempts, calls) in [(0, 1), (1, 1), (2, 2), (4, 4)] {
        let (inner, log) = server(|_| Ok(answer(429, &[("retry-after", "1")])));
        let layer = RetryAfterBackoffLayer::new().attempts(attempts);
        let (result, _) = send(layer.layer(inner), get()).await;
        assert_eq!(result.unwrap().status(), 429);
        assert_eq!(log.calls(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_would_pass_the_deadline_is_not_begun() {
    // 10 s are waited out twice; the third would end past 25 s.
    let (inner, log) = server(|_| Ok(answer(429, &[("retry-after", "10")])));
    let layer = RetryAfterBackoffLayer::new().deadline(s(25));
    let (result, took) = send(layer.layer(inner), get()).await;
    assert_eq!(result.unwrap().headers()["retry-after"], "10");
    assert_eq!(log.calls(), 3);
    assert!(took >= s(20) && took <= s(22) + ms(2), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_our_own_that_would_pass_the_deadline_is_not_begun() {
    // Each wait is 10 s: the base is the cap.
    for (deadline, calls, expected) in [(9_999, 1, 0), (10_000, 2, 10), (29_000, 3, 20)] {
        let (inner, log) = server(|_| Ok(answer(500, &[])));
        let layer = RetryAfterBackoffLayer::new()
            .backoff(Backoff::new(s(10), s(10)).jitter(Jitter::Decorrelated))
            .deadline(ms(deadline));
        let (result, took) = send(layer.layer(inner), get()).await;
        assert_eq!(result.unwrap().status(), 500);
        assert_eq!((log.calls(), took), (calls, s(expected)), "{deadline} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn decorrelated_waits_grow_with_those_before() {
    let mut most = Duration::ZERO;
    for seed in 0..50 {
        let (inner, log) = server(|_| Ok(answer(500, &[])));
        let layer = RetryAfterBackoffLayer::new()
            .backoff(Backoff::new(ms(100), s(60)).jitter(Jitter::Decorrelated))
            .no_budget()
            .seed(seed);
        send(layer.layer(inner), get()).await.0.unwrap();
        most = most.max(log.waits()[3]);
    }
    // 300, 900, 2,700 and 8,100 ms at most; 300 each if none remembered the one before.
    assert!(most > ms(900) && most <= ms(8_101), "{most:?}");
}

#[tokio::test(start_paused = true)]
async fn the_time_that_attempts_take_counts_towards_the_deadline() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let inner = service_fn(move |_: Req| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(s(8)).await;
            Ok::<_, Infallible>(answer(429, &[("retry-after", "3")]))
        }
    });
    let layer = RetryAfterBackoffLayer::new().deadline(s(10));
    let (result, took) = send(layer.layer(inner), get()).await;
    assert_eq!(result.unwrap().status(), 429);
    assert_eq!((took, calls.load(Ordering::Relaxed)), (s(8), 1));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_zero_and_one_of_forever_do_what_they_say() {
    for (deadline, calls) in [(Duration::ZERO, 1), (Duration::MAX, 5)] {
        let (inner, log) = server(|_| Ok(answer(429, &[("retry-after", "1")])));
        let layer = RetryAfterBackoffLayer::new().deadline(deadline);
        send(layer.layer(inner), get()).await.0.unwrap();
        assert_eq!(log.calls(), calls, "{deadline:?}");
    }
}

// ===== budget =====

/// A layer that hardly waits, so that a reserve does not refill meanwhile.
fn quick(budget: Budget) -> RetryAfterBackoffLayer {
    let backoff = Backoff::new(ms(1), ms(1));
    RetryAfterBackoffLayer::new()
        .budget(budget)
        .backoff(backoff)
        .deadline(s(3_600))
}

#[tokio::test(start_paused = true)]
async fn when_everything_fails_the_budget_runs_out_and_each_request_is_sent_once() {
    let budget = Budget::new(20, Quota::new(10, s(86_400)));
    let (down, log) = server(|_| Ok(answer(500, &[])));
    let service = quick(budget.clone()).layer(down);
    for _ in 0..1_000 {
        send(service.clone(), get()).await.0.unwrap();
    }
    // Five attempts each would have been 5,000. The reserve of 10 is all that there was.
    assert_eq!(log.calls(), 1_010);

    // 200 successes allow 40 more.
    let (up, _) = server(|_| Ok(answer(200, &[])));
    for _ in 0..200 {
        send(quick(budget.clone()).layer(up.clone()), get())
            .await
            .0
            .unwrap();
    }
    assert_eq!(budget.saved(), 40);
    for _ in 0..1_000 {
        send(service.clone(), get()).await.0.unwrap();
    }
    assert_eq!(log.calls(), 2_050);
}

/// How often 2,000 requests are sent by the defaults while all is down, one begun every so often.
async fn sent_in_an_outage<F>(reply: F, apart: Duration, waits_for_each: bool) -> usize
where
    F: Fn(usize) -> Answer + Clone,
{
    let (down, log) = server(reply);
    let service = RetryAfterBackoffLayer::new().layer(down);
    let requests = (0..2_000).map(|n| {
        let service = service.clone();
        async move {
            if !waits_for_each {
                sleep(apart * n).await;
            }
            send(service, get()).await.0.map(drop).ok();
        }
    });
    if waits_for_each {
        for request in requests {
            request.await;
            sleep(apart).await;
        }
    } else {
        join_all(requests).await;
    }
    log.calls()
}

#[tokio::test(start_paused = true)]
async fn in_a_total_outage_2_000_requests_are_not_sent_more_than_2_400_times() {
    for (apart, waits_for_each) in [(0, false), (10, false), (100, false), (0, true), (50, true)] {
        let fails = |_: usize| Ok(answer(503, &[]));
        let sent = sent_in_an_outage(fails, ms(apart), waits_for_each).await;
        assert!((2_010..=2_400).contains(&sent), "{sent}, {apart} ms apart");
        // What may double the work that is being done costs twice as much.
        let stalls = |_: usize| Err(TimedOut::Attempt(ms(0)).into());
        let stalled = sent_in_an_outage(stalls, ms(apart), waits_for_each).await;
        assert!(
            (2_005..=2_200).contains(&stalled),
            "{stalled}, {apart} ms apart"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn hints_that_are_not_waited_for_are_not_free() {
    let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
    for fields in [
        &[("retry-after", "0")][..],
        &[("retry-after-ms", "1")],
        &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT"), date],
        &[("x-should-retry", "true"), ("retry-after", "0")],
    ] {
        let (down, log) = server(move |_| Ok(answer(429, fields)));
        let service = RetryAfterBackoffLayer::new().layer(down);
        let requests = (0..1_000).map(|_| send(service.clone(), get()));
        join_all(requests).await;
        // The reserve: 10 at once, and 30 a minute.
        assert!(
            (1_010..=1_100).contains(&log.calls()),
            "{}, {fields:?}",
            log.calls()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_hint_of_zero_is_not_free_without_a_backoff() {
    let (inner, log) = server(|_| Ok(answer(429, &[("retry-after", "0")])));
    let layer = RetryAfterBackoffLayer::new()
        .backoff(Backoff::new(ms(0), ms(0)))
        .budget(empty());
    send(layer.layer(inner), get()).await.0.unwrap();
    assert_eq!(log.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_policys_hint_of_zero_is_not_free() {
    let (inner, log) = server(|_| Err("down".into()));
    let policy = |_: &Req, _: Result<&Res, &BoxError>| RetryAction::retry_after(ms(0));
    let layer = RetryAfterBackoffLayer::new().budget(empty()).policy(policy);
    send(layer.layer(inner), get()).await.0.unwrap_err();
    assert_eq!(log.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_an_open_circuit_is_free() {
    let circuit = Circuit::new().failures(1).cooldown(ms(20), ms(20));
    circuit.enter().unwrap().failed(None);
    let reply = move |_| {
        let guard = circuit.enter()?;
        guard.succeeded();
        Ok(answer(200, &[]))
    };
    // The rest of the cooldown is less than a tenth of the backoff.
    let (inner, log) = server(reply);
    let layer = RetryAfterBackoffLayer::new()
        .budget(empty())
        .wait_for_circuit();
    let (result, _) = send(layer.layer(inner), get()).await;
    assert_eq!((result.unwrap().status().as_u16(), log.calls()), (200, 2));
}

#[tokio::test(start_paused = true)]
async fn a_success_of_the_last_attempt_pays_into_the_budget() {
    for (last, saved) in [(200, 1), (404, 1), (500, 0), (429, 0)] {
        let budget = Budget::new(100, Quota::new(1, s(86_400)));
        let (inner, log) = server(move |n| Ok(answer([500, last][n], &[])));
        let service = quick(budget.clone()).attempts(2).layer(inner);
        send(service, get()).await.0.unwrap();
        assert_eq!((log.calls(), budget.saved()), (2, saved), "{last}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_retry_costs_what_its_kind_of_failure_does() {
    let broken = || Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into());
    let spent = async |reply: fn() -> Answer, layer: RetryAfterBackoffLayer| {
        let budget = Budget::new(100, Quota::per_second(0));
        (0..10).for_each(|_| budget.deposit());
        let (inner, _) = server(move |_| reply());
        let service = layer.budget(budget.clone()).attempts(2).layer(inner);
        let _ = send(service, get()).await.0;
        10 - budget.saved()
    };
    let layer = RetryAfterBackoffLayer::new;
    assert_eq!(spent(|| Ok(answer(500, &[])), layer()).await, 1);
    assert_eq!(spent(|| Ok(answer(503, &[])), layer()).await, 1);
    assert_eq!(spent(|| Ok(answer(529, &[])), layer()).await, 1);
    assert_eq!(spent(|| Ok(answer(504, &[])), layer()).await, 2);
    assert_eq!(spent(broken, layer()).await, 1);
    let stalled = || Err(TimedOut::Attempt(ms(0)).into());
    assert_eq!(spent(stalled, layer()).await, 2);
    let hint = || Ok(answer(504, &[("retry-after", "1")]));
    assert_eq!(spent(hint, layer()).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_classifier_may_say_what_kind_of_failure_it_was_and_an_error_tells_it_by_itself() {
    let spent = async |action: RetryAction, outcome: fn() -> Answer| {
        let budget = Budget::new(100, Quota::per_second(0)).price(|outcome| match outcome {
            Some(Outcome::QuotaExhausted) => 5,
            Some(Outcome::Interrupted) => 3,
            _ => 1,
        });
        (0..10).for_each(|_| budget.deposit());
        let (inner, _) = server(move |_| outcome());
        let policy = move |_: &Req, _: Result<&Res, &BoxError>| action;
        let layer = quick(budget.clone()).attempts(2).policy(policy);
        let _ = send(layer.layer(inner), get()).await.0;
        10 - budget.saved()
    };
    let broken = || Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset).into());
    let money = RetryAction::retry().because(Outcome::QuotaExhausted);
    assert_eq!(spent(money, || Ok(answer(200, &[]))).await, 5);
    assert_eq!(spent(money, broken).await, 5);
    assert_eq!(spent(RetryAction::retry(), broken).await, 3);
    assert_eq!(
        spent(RetryAction::retry(), || Ok(answer(504, &[]))).await,
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_is_down_leaves_the_others_their_retries() {
    let budgets = BudgetRegistry::new(&Budget::new(100, Quota::new(1, s(86_400))));
    let to = |host: &str| Request::get(format!("http://{host}/")).body("").unwrap();
    let layer = quick(empty()).budget_by_host(budgets.clone()).attempts(2);
    let (down, log) = server(|_| Ok(answer(500, &[])));
    let service = layer.layer(down);
    for (host, sent) in [("a", 2), ("a", 1), ("b", 2), ("user:pass@A", 1), ("b", 1)] {
        let before = log.calls();
        send(service.clone(), to(host)).await.0.unwrap();
        assert_eq!(log.calls() - before, sent, "{host}");
    }
    assert_eq!(budgets.len(), 2);

    // Successes pay into the budget of their own host, the ones of a last attempt among them.
    let (up, _) = server(|_| Ok(answer(200, &[])));
    send(layer.layer(up), to("a")).await.0.unwrap();
    assert_eq!(
        (budgets.named("a").saved(), budgets.named("b").saved()),
        (1, 0)
    );
    let (recovers, _) = server(|n| Ok(answer([500, 200][n], &[])));
    send(layer.layer(recovers), to("a")).await.0.unwrap();
    assert_eq!(
        (budgets.named("a").saved(), budgets.named("b").saved()),
        (1, 0)
    );

    // A closure knows the host, too.
    let retry = |_: &Req, _: Result<&Res, &BoxError>| RetryAction::Accept;
    let (up, _) = server(|_| Ok(answer(200, &[])));
    send(layer.policy(retry).layer(up), to("c"))
        .await
        .0
        .unwrap();
    assert_eq!(budgets.named("c").saved(), 1);
}

#[tokio::test(start_paused = true)]
async fn without_a_budget_each_request_is_sent_as_often_as_it_may_be() {
    let (inner, log) = server(|_| Ok(answer(500, &[])));
    let service = quick(empty()).no_budget().layer(inner);
    for _ in 0..100 {
        send(service.clone(), get()).await.0.unwrap();
    }
    assert_eq!(log.calls(), 500);
}

#[tokio::test(start_paused = true)]
async fn retries_are_a_fifth_of_the_successes_when_half_of_the_requests_fail() {
    let (inner, log) = server(|n| Ok(answer([200, 500][n % 2], &[])));
    let service = quick(Budget::new(20, Quota::per_second(0))).layer(inner);
    let mut successes = 0;
    for _ in 0..10_000 {
        successes += usize::from(send(service.clone(), get()).await.0.unwrap().status() == 200);
    }
    let retries = log.calls() - 10_000;
    assert!(
        retries.abs_diff(successes / 5) < 20,
        "{retries} of {successes}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lone_request_of_a_client_that_has_just_started_is_repeated() {
    let (inner, log) = server(|n| Ok(answer(if n < 4 { 502 } else { 200 }, &[])));
    let (result, _) = send(RetryAfterBackoffLayer::new().layer(inner), get()).await;
    assert_eq!(result.unwrap().status(), 200);
    assert_eq!(log.calls(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_retry_by_invitation_passes_when_the_budget_is_empty() {
    for (fields, calls) in [
        (&[("retry-after", "1")][..], 5),
        (&[("retry-after-ms", "50")], 5),
        // Less than a tenth of the first backoff, which is added.
        (&[("retry-after-ms", "49")], 1),
        (&[("retry-after", "0")], 1),
        (&[("retry-after", "soon")], 1),
        (&[("x-should-retry", "true")], 1),
        (&[], 1),
    ] {
        let budget = empty();
        let (inner, log) = server(move |_| Ok(answer(429, fields)));
        let layer = RetryAfterBackoffLayer::new().budget(budget);
        send(layer.layer(inner), get()).await.0.unwrap();
        assert_eq!(log.calls(), calls, "{fields:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn retries_by_invitation_leave_the_budget_as_it_was() {
    let budget = Budget::new(100, Quota::per_second(0));
    (0..3).for_each(|_| budget.deposit());
    let (inner, log) = server(|_| Ok(answer(429, &[("retry-after", "1")])));
    let layer = RetryAfterBackoffLayer::new().budget(budget.clone());
    send(layer.layer(inner), get()).await.0.unwrap();
    assert_eq!((log.calls(), budget.saved()), (5, 3));
}

#[tokio::test(start_paused = true)]
async fn told_at_once_it_still_backs_off() {
    let (inner, log) = server(|_| Ok(answer(429, &[("retry-after", "0")])));
    let layer =
        RetryAfterBackoffLayer::new().backoff(Backoff::new(ms(100), ms(800)).jitter(Jitter::Equal));
    send(layer.layer(inner), get()).await.0.unwrap();
    let least = [50, 100, 200, 400].map(ms);
    let waits = log.waits();
    assert!(
        waits.iter().zip(least).all(|(wait, least)| *wait >= least),
        "{waits:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn every_service_and_clone_of_a_layer_shares_its_budget() {
    let (inner, log) = server(|_| Ok(answer(500, &[])));
    let layer = quick(Budget::new(0, Quota::new(3, s(86_400))));
    let service = layer.layer(inner.clone());
    for service in [
        service.clone(),
        service,
        layer.layer(inner.clone()),
        layer.clone().layer(inner),
    ] {
        send(service, get()).await.0.unwrap();
    }
    assert_eq!(log.calls(), 4 + 3);
}

// ===== requests and outcomes =====

#[tokio::test(start_paused = true)]
async fn a_post_is_repeated_only_where_the_server_did_not_act_unless_told_otherwise() {
    for (status, fields, get_calls, post_calls) in [
        (429, &[][..], 5, 5),
        (503, &[("retry-after", "1")], 5, 5),
        (503, &[], 5, 1),
        (500, &[], 5, 1),
        (500, &[("x-should-retry", "true")], 5, 5),
        (429, &[("x-should-retry", "false")], 1, 1),
        (402, &[("retry-after", "1")], 1, 1),
        (404, &[], 1, 1),
    ] {
        let layer = RetryAfterBackoffLayer::new();
        for (layer, request, calls) in [
            (layer.clone(), get(), get_calls),
            (layer.clone(), post(), post_calls),
            (layer.retry_non_idempotent(), post(), get_calls),
        ] {
            let (inner, log) = server(move |_| Ok(answer(status, fields)));
            send(layer.no_budget().layer(inner), request)
                .await
                .0
                .unwrap();
            assert_eq!(log.calls(), calls, "{status} {fields:?}");
        }
    }
}

/// A body that is streamed.
#[derive(Debug)]
struct Streamed;

impl TryClone for Streamed {
    fn try_clone(&self) -> Option<Self> {
        None
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_cannot_be_cloned_is_sent_once_and_its_outcome_handed_on() {
    let (inner, log) = server(|_| Ok(answer(429, &[("retry-after", "1")])));
    let service = RetryAfterBackoffLayer::new().layer(inner);
    let (result, took) = send(service, Request::new(Streamed)).await;
    let response = result.unwrap();
    assert_eq!(response.status(), 429);
    assert!(response.extensions().is_empty());
    assert_eq!((took, log.calls()), (Duration::ZERO, 1));
}

/// A body that can be cloned so many times.
#[derive(Debug)]
struct Cloned(Arc<AtomicUsize>);

impl TryClone for Cloned {
    fn try_clone(&self) -> Option<Self> {
        let left = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        left.ok().map(|_| Self(self.0.clone()))
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_can_be_cloned_no_more_gets_its_last_attempt() {
    let (inner, log) = server(|_| Ok(answer(429, &[("retry-after", "1")])));
    let service = RetryAfterBackoffLayer::new().layer(inner);
    let (result, _) = send(service, Request::new(Cloned(Arc::new(2.into())))).await;
    let response = result.unwrap();
    assert_eq!(response.status(), 429);
    assert_eq!(Attempts::of(&response).attempts(), 3);
    assert_eq!(log.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn no_clone_is_made_for_an_attempt_after_which_there_is_none() {
    for (attempts, clones) in [(1, 0), (2, 1), (3, 2)] {
        let (inner, log) = server(|_| Ok(answer(429, &[("retry-after", "1")])));
        let layer = RetryAfterBackoffLayer::new().attempts(attempts);
        let left = Arc::new(AtomicUsize::new(10));
        let request = Request::new(Cloned(left.clone()));
        send(layer.layer(inner), request).await.0.unwrap();
        assert_eq!(10 - left.load(Ordering::Relaxed), clones);
        assert_eq!(log.calls(), attempts as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_sends_the_same_request() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let inner = service_fn(move |request: Request<String>| {
        let (parts, body) = request.into_parts();
        let key = parts.extensions.get::<u8>().copied();
        let sent = (parts.method, parts.uri, parts.headers, key, body);
        log.lock().unwrap().push(sent);
        ready(Ok::<_, Infallible>(answer(503, &[("retry-after", "1")])))
    });
    let request = Request::post("http://host/path?query")
        .header("key", "value")
        .extension(7_u8)
        .body("body".to_owned())
        .unwrap();
    let service = RetryAfterBackoffLayer::new().attempts(3).layer(inner);
    send(service, request).await.0.unwrap();
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 3);
    assert!(seen.iter().all(|sent| sent == &seen[0]));
    assert_eq!(seen[0].3, Some(7));
    assert_eq!(seen[0].4, "body");
}

#[tokio::test(start_paused = true)]
async fn the_response_says_how_many_attempts_it_took_and_how_long_they_waited() {
    let (inner, _) = server(|n| {
        Ok(answer(
            if n < 2 { 429 } else { 200 },
            &[("retry-after", "5")],
        ))
    });
    let (result, took) = send(RetryAfterBackoffLayer::new().layer(inner), get()).await;
    let response = result.unwrap();
    let attempts = response.extensions().get::<Attempts>().unwrap();
    assert_eq!(attempts.attempts(), 3);
    assert!(attempts.total_delay() >= s(10) && attempts.total_delay() <= took);
    assert!(took - attempts.total_delay() <= ms(2));
}

#[tokio::test(start_paused = true)]
async fn a_response_of_the_first_attempt_is_left_as_it_is() {
    let (inner, _) = server(|_| Ok(answer(200, &[])));
    let (result, _) = send(RetryAfterBackoffLayer::new().layer(inner), get()).await;
    let response = result.unwrap();
    assert!(response.extensions().is_empty());
    assert_eq!(Attempts::of(&response).attempts(), 1);
    assert_eq!(Attempts::of(&response).total_delay(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn an_error_passes_unchanged_when_the_attempts_are_used_up() {
    let (inner, log) =
        server(|n| Err(std::io::Error::from_raw_os_error([104, 104, 111][n]).into()));
    let layer = RetryAfterBackoffLayer::new().attempts(3);
    let (result, _) = send(layer.layer(inner), get()).await;
    let error = result.unwrap_err().downcast::<std::io::Error>().unwrap();
    assert_eq!(error.raw_os_error(), Some(111));
    assert_eq!(log.calls(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_closure_can_take_the_place_of_the_classifier() {
    let (inner, log) = server(|n| Ok(answer([200, 418, 500][n], &[])));
    let layer =
        RetryAfterBackoffLayer::new().policy(|request: &Req, outcome: Result<&Res, &BoxError>| {
            assert_eq!(request.method(), Method::POST);
            match outcome.unwrap().status().as_u16() {
                200 => RetryAction::retry_after(s(3)),
                418 => RetryAction::retry(),
                _ => RetryAction::Forbid,
            }
        });
    let (result, took) = send(layer.layer(inner), post()).await;
    let response = result.unwrap();
    assert_eq!(response.status(), 500);
    assert_eq!(Attempts::of(&response).attempts(), 3);
    assert_eq!(log.calls(), 3);
    assert!(took >= s(3));
}

#[derive(Debug, Clone)]
struct Text(String);

impl TryClone for Text {
    fn try_clone(&self) -> Option<Self> {
        Some(self.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn responses_that_are_not_http_have_classifiers_of_their_own() {
    #[derive(Clone)]
    struct Counting;
    impl Policy<Text, (u32, String)> for Counting {
        fn action(&self, _: &Text, outcome: Result<&(u32, String), &BoxError>) -> RetryAction {
            match outcome {
                Ok((_, text)) if text.is_empty() => RetryAction::retry(),
                _ => RetryAction::Accept,
            }
        }

        fn record(&self, response: &mut (u32, String), attempts: Attempts) {
            response.0 = attempts.attempts();
        }
    }
    let calls = Arc::new(AtomicUsize::new(0));
    let inner = service_fn(move |text: Text| {
        let n = calls.fetch_add(1, Ordering::Relaxed);
        let said = if n % 3 < 2 { String::new() } else { text.0 };
        ready(Ok::<_, Infallible>((0, said)))
    });
    let recorded = RetryAfterBackoffLayer::new().policy(Counting);
    let (result, _) = send(recorded.layer(inner.clone()), Text("hi".to_owned())).await;
    assert_eq!(result.unwrap(), (3, "hi".to_owned()));
    let plain = RetryAfterBackoffLayer::new().policy(policy_fn(
        |_: &Text, outcome: Result<&(u32, String), &BoxError>| match outcome {
            Ok((_, text)) if text.is_empty() => RetryAction::retry(),
            _ => RetryAction::Accept,
        },
    ));
    let (result, _) = send(plain.layer(inner), Text("hi".to_owned())).await;
    assert_eq!(result.unwrap(), (0, "hi".to_owned()));
}

// ===== limiters inside =====

#[tokio::test(start_paused = true)]
async fn a_refusal_by_a_limiter_inside_is_not_repeated() {
    let (inner, log) = server(|_| Ok(answer(200, &[])));
    let service = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
        .layer(TokenBucketLayer::new(Quota::per_hour(1)).max_wait(Duration::ZERO))
        .service(inner);
    send(service.clone(), get()).await.0.unwrap();
    let (result, took) = send(service, get()).await;
    assert!(result.unwrap_err().is::<Rejected>());
    assert_eq!((took, log.calls()), (Duration::ZERO, 1));
}

#[tokio::test(start_paused = true)]
async fn each_attempt_passes_the_limiter_inside_again() {
    let limiter = TokenBucketLimiter::new(Quota::per_hour(10).burst(10));
    let (inner, log) = server(|n| {
        Ok(answer(
            if n < 3 { 429 } else { 200 },
            &[("retry-after", "1")],
        ))
    });
    let service = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(TokenBucketLayer::from(limiter.clone()))
        .service(inner);
    send(service, get()).await.0.unwrap();
    assert_eq!(log.calls(), 4);
    let left = std::iter::from_fn(|| limiter.try_acquire(1).is_ok().then_some(())).count();
    assert_eq!(left, 10 - 4);
}

#[tokio::test(start_paused = true)]
async fn over_a_concurrency_limit_of_1_a_hundred_requests_neither_deadlock_nor_leak() {
    let seen = Arc::new(AtomicUsize::new(0));
    let calls = seen.clone();
    let inner = service_fn(move |_: Req| {
        let n = calls.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(ms(1)).await;
            let status = if n % 2 == 0 { 429 } else { 200 };
            Ok::<_, Infallible>(answer(status, &[("retry-after", "1")]))
        }
    });
    let inner = ConcurrencyLimit::new(inner, 1);
    let layer = RetryAfterBackoffLayer::new()
        .attempts(50)
        .deadline(s(7_200));
    // Stays alive meanwhile.
    let service = layer.layer(inner.clone());
    let requests = (0..100).map(|_| send(service.clone(), get()));
    let answers = timeout(s(3_600), join_all(requests))
        .await
        .expect("a deadlock");
    assert!(
        answers
            .iter()
            .all(|(result, _)| result.as_ref().unwrap().status() == 200)
    );
    assert!(seen.load(Ordering::Relaxed) >= 200);
    assert!(
        poll_once(inner.clone().ready()).await.is_some(),
        "the permit leaked"
    );
}

/// A body that is counted while it is alive.
struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn what_a_failed_response_holds_is_let_go_of_before_the_wait() {
    let (alive, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (held, counted) = (alive.clone(), made.clone());
    let inner = service_fn(move |_: Req| {
        held.fetch_add(1, Ordering::Relaxed);
        counted.fetch_add(1, Ordering::Relaxed);
        let response = answer(429, &[("retry-after", "9")]).map(|()| Held(held.clone()));
        ready(Ok::<_, Infallible>(response))
    });
    let inner = ConcurrencyLimit::new(inner, 1);
    let mut other = inner.clone();
    let mut service = RetryAfterBackoffLayer::new().layer(inner);
    let mut waiting = Box::pin(service.ready().await.unwrap().call(get()));
    assert!(poll_once(&mut waiting).await.is_none());
    assert_eq!(made.load(Ordering::Relaxed), 1);
    assert_eq!(alive.load(Ordering::Relaxed), 0, "the response is alive");
    assert!(
        poll_once(other.ready()).await.is_some(),
        "the permit is held by a sleeper"
    );
}

#[tokio::test(start_paused = true)]
async fn a_drop_at_any_stage_leaks_neither_permit_nor_budget() {
    let budget = Budget::new(100, Quota::per_second(0));
    (0..10).for_each(|_| budget.deposit());
    let inner = service_fn(|_: Req| async {
        sleep(s(1)).await;
        Ok::<_, Infallible>(answer(500, &[]))
    });
    let inner = ConcurrencyLimit::new(inner, 1);
    let layer = RetryAfterBackoffLayer::new()
        .budget(budget.clone())
        .backoff(Backoff::new(s(10), s(10)).jitter(Jitter::Decorrelated));
    #[allow(clippy::async_yields_async, reason = "the future is what is looked at")]
    let start = async || {
        let mut service = layer.layer(inner.clone());
        Box::pin(service.ready().await.unwrap().call(get()))
    };
    let free = async || poll_once(inner.clone().ready()).await.is_some();

    // While it is called.
    let mut calling = start().await;
    assert!(timeout(ms(500), &mut calling).await.is_err());
    assert!(format!("{calling:?}").contains("Calling"));
    assert!(!free().await);
    drop(calling);
    assert!(free().await);
    assert_eq!(budget.saved(), 10);

    // While it sleeps.
    let mut sleeping = start().await;
    assert!(timeout(s(5), &mut sleeping).await.is_err());
    assert!(format!("{sleeping:?}").contains("Sleeping"));
    assert!(free().await);
    assert_eq!(budget.saved(), 9);
    drop(sleeping);
    assert_eq!(budget.saved(), 10);

    // While it waits for the service to be ready again.
    let mut readying = start().await;
    assert!(timeout(s(5), &mut readying).await.is_err());
    let mut blocker = inner.clone();
    blocker.ready().await.unwrap();
    assert!(timeout(s(10), &mut readying).await.is_err());
    assert!(format!("{readying:?}").contains("Readying"));
    assert_eq!(budget.saved(), 9);
    drop(readying);
    assert_eq!(budget.saved(), 10);
    drop(blocker);
    assert!(free().await);

    // In its second attempt: it was made, and is paid for.
    let mut again = start().await;
    assert!(timeout(ms(11_500), &mut again).await.is_err());
    assert!(format!("{again:?}").contains("Calling"));
    assert!(!free().await);
    drop(again);
    assert!(free().await);
    assert_eq!(budget.saved(), 9);
}

#[tokio::test(start_paused = true)]
async fn a_service_that_cannot_become_ready_again_says_so() {
    #[derive(Default)]
    struct OnlyOnce(bool);
    impl Clone for OnlyOnce {
        fn clone(&self) -> Self {
            Self(true)
        }
    }
    impl Service<Req> for OnlyOnce {
        type Response = Res;
        type Error = &'static str;
        type Future = Ready<Result<Res, &'static str>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
            Poll::Ready(if self.0 { Err("closed") } else { Ok(()) })
        }
        fn call(&mut self, _: Req) -> Self::Future {
            ready(Ok(answer(429, &[("retry-after", "1")])))
        }
    }
    let mut service = RetryAfterBackoffLayer::new().layer(OnlyOnce::default());
    let error = service
        .ready()
        .await
        .unwrap()
        .call(get())
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "closed");
    let error = service.clone().ready().await.map(drop).unwrap_err();
    assert_eq!(error.to_string(), "closed");
}

// ===== events =====

#[tokio::test(start_paused = true)]
async fn one_event_tells_of_each_retry_and_nothing_of_what_was_sent() {
    let (inner, _) = server(|n| {
        if n == 0 {
            let secret = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "s3cret");
            return Err(secret.into());
        }
        Ok(answer([429, 200][n - 1], &[("retry-after", "60")]))
    });
    let events = Listening::start();
    let request = Request::get("http://host/?key=s3cret")
        .body("s3cret")
        .unwrap();
    send(RetryAfterBackoffLayer::new().layer(inner), request)
        .await
        .0
        .unwrap();
    let lines = events.lines();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("retrying attempt=1") && lines[0].contains("backoff"),
        "{lines:?}"
    );
    assert!(
        lines[1].contains("attempt=2") && lines[1].contains("wait=60."),
        "{lines:?}"
    );
    assert!(!lines.concat().contains("s3cret"), "{lines:?}");
}

// ===== types =====

/// A service that borrows, and is not `Send`.
#[derive(Clone)]
struct Borrowing<'a>(&'a Cell<u32>);

impl<'a> Service<Req> for Borrowing<'a> {
    type Response = Res;
    type Error = BoxError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Answer> + 'a>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        let calls = self.0;
        Box::pin(async move {
            calls.set(calls.get() + 1);
            Ok(answer([503, 200][calls.get() as usize - 1], &[]))
        })
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_borrows_and_is_not_send_can_be_wrapped() {
    let calls = Cell::new(0);
    let service = RetryAfterBackoffLayer::new().layer(Borrowing(&calls));
    let (result, _) = send(service, get()).await;
    assert_eq!(result.unwrap().status(), 200);
    assert_eq!(calls.get(), 2);
}

#[test]
fn what_is_made_here_can_be_sent_between_threads_where_the_inner_service_can() {
    fn sendable<T: Send>(_: &T) {}
    fn shareable<T: Send + Sync + Unpin + Clone + 'static>(_: &T) {}
    let (inner, _) = server(|_| Ok(answer(200, &[])));
    let layer = RetryAfterBackoffLayer::new();
    shareable(&layer);
    shareable(&Budget::default());
    let service = layer.layer(inner);
    shareable(&service);
    sendable(&service.oneshot(get()));
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_after_the_deadline_however_long_the_inner_service_takes_to_be_ready() {
    let always_down = service_fn(async |_: Request<()>| Ok::<_, Infallible>(answer(503, &[])));
    let inner = tower::limit::ConcurrencyLimit::new(always_down, 1);
    let mut blocker = inner.clone();
    let layer = RetryAfterBackoffLayer::new().deadline(Duration::from_secs(5));
    let mut service = layer.layer(inner);
    let begin = Instant::now();
    let call = service.ready().await.unwrap().call(Request::new(()));
    drop(service);
    let block = async {
        tokio::time::sleep(Duration::from_millis(1)).await;
        blocker.ready().await.unwrap();
    };
    let (result, ()) = tokio::join!(call, block);
    let error = result.unwrap_err();
    assert!(error.is::<tower_throttle::retry::future::DeadlinePassed>());
    assert_eq!(Outcome::of_error(&error), Some(Outcome::Timeout));
    assert_eq!(begin.elapsed(), Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn a_hint_of_next_to_nothing_does_not_make_a_hot_loop() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let server = service_fn(move |_: Request<()>| {
        counted.fetch_add(1, Ordering::Relaxed);
        let mut response = answer(500, &[]);
        let hint = HeaderValue::from_static("0.000001");
        response.headers_mut().insert("retry-after-ms", hint);
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let layer = RetryAfterBackoffLayer::new()
        .attempts(1_000)
        .deadline(Duration::from_secs(20));
    layer.layer(server).oneshot(Request::new(())).await.unwrap();
    // Half a second doubling to thirty, with full jitter.
    assert!(sent.load(Ordering::Relaxed) < 40, "{sent:?}");
}

#[tokio::test(start_paused = true)]
async fn retries_that_are_given_up_do_not_turn_the_reserve_into_savings() {
    let budget = Budget::default();
    for _ in 0..10 {
        let down = service_fn(async |_: Request<()>| Ok::<_, Infallible>(answer(500, &[])));
        let service = RetryAfterBackoffLayer::new()
            .budget(budget.clone())
            .layer(down);
        let calls = (0..20).map(|_| service.clone().oneshot(Request::new(())));
        let all = futures::future::join_all(calls);
        let _ = tokio::time::timeout(Duration::from_millis(1), all).await;
        tokio::time::sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(budget.saved(), 0);
}

#[tokio::test(start_paused = true)]
async fn errors_hold_their_attempts_on_request() {
    let layer = RetryAfterBackoffLayer::new()
        .attempts(3)
        .attempts_in_errors();
    let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let down = service_fn(async |_: Request<()>| Err::<Response<()>, _>(refused()));
    let error = layer.layer(down).oneshot(Request::new(())).await;
    let error = error.unwrap_err();
    let attempts = Attempts::of_error(&error).unwrap();
    assert_eq!(attempts.attempts(), 3);
    assert!(attempts.total_delay() > Duration::ZERO);
    assert_eq!(error.to_string(), refused().to_string());
    assert_eq!(Outcome::of_error(&error), Some(Outcome::NotSent));

    // An error of the first attempt is no exception, and is found through the wrapper.
    let limited = layer.layer(
        TokenBucketLayer::new(Quota::per_hour(1))
            .max_wait(Duration::ZERO)
            .layer(service_fn(async |_: Request<()>| {
                Ok::<_, Infallible>(answer(200, &[]))
            })),
    );
    limited.clone().oneshot(Request::new(())).await.unwrap();
    let error = limited.oneshot(Request::new(())).await.unwrap_err();
    assert_eq!(Attempts::of_error(&error).unwrap().attempts(), 1);
    assert!(Rejected::of(&error).is_some());

    let plain = RetryAfterBackoffLayer::new().attempts(1).layer(down);
    let error = plain.oneshot(Request::new(())).await.unwrap_err();
    assert!(error.is::<std::io::Error>());
    assert_eq!(Attempts::of_error(&error), None);
}

#[tokio::test(start_paused = true)]
async fn a_closure_on_heads_infers_its_argument() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counted = sent.clone();
    let server = service_fn(move |_: Request<()>| {
        counted.fetch_add(1, Ordering::Relaxed);
        std::future::ready(Ok::<_, Infallible>(answer(200, &[("retry-after", "7")])))
    });
    let layer = RetryAfterBackoffLayer::new()
        .attempts(2)
        .classify_with(|result| match result {
            Ok(response) if response.headers().contains_key("retry-after") => {
                Some(Outcome::Overloaded)
            }
            result => Outcome::of(result),
        });
    let begin = Instant::now();
    let response = layer.layer(server).oneshot(Request::new(())).await.unwrap();
    assert_eq!(Attempts::of(&response).attempts(), 2);
    assert_eq!(sent.load(Ordering::Relaxed), 2);
    assert!(begin.elapsed() >= Duration::from_secs(7));
}

/// Ready for one call only.
#[derive(Clone)]
struct OnceReady(Arc<AtomicUsize>);

impl Service<Request<()>> for OnceReady {
    type Response = Response<()>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<()>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.0.fetch_add(1, Ordering::Relaxed) {
            0 => Poll::Ready(Ok(())),
            1..10 => Poll::Pending,
            _ => Poll::Ready(Err("broken".into())),
        }
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        std::future::ready(Err(refused.into()))
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_that_were_not_sent_do_not_count() {
    for polls in [0, 9] {
        let layer = RetryAfterBackoffLayer::new()
            .attempts(3)
            .attempts_in_errors();
        let mut service = layer.layer(OnceReady(Arc::default()));
        service.ready().await.unwrap();
        let inner = service.get_ref().0.clone();
        let call = service.call(Request::new(()));
        inner.fetch_add(polls, Ordering::Relaxed);
        let error = call.await.unwrap_err();
        let attempts = Attempts::of_error(&error).unwrap();
        assert_eq!(attempts.attempts(), 1, "{error}");
    }
}

/// As without a closure: an inner layer may have found the wait in the body.
#[tokio::test(start_paused = true)]
async fn a_wait_in_the_extensions_holds_for_closures() {
    let calls = AtomicUsize::new(0);
    let calls = Arc::new(calls);
    let server = service_fn(move |_: Request<()>| {
        let is_first = calls.fetch_add(1, Ordering::Relaxed) == 0;
        let mut response = answer(if is_first { 429 } else { 200 }, &[]);
        let hint = Hint::new(Some(Duration::from_secs(7)), None);
        response.extensions_mut().insert(hint);
        ready(Ok::<_, Infallible>(response))
    });
    let layer = RetryAfterBackoffLayer::new().classify_with(Outcome::of);
    let started = Instant::now();
    let response = layer.layer(server).oneshot(Request::new(())).await;
    assert_eq!(response.unwrap().status(), 200);
    assert!(started.elapsed() >= Duration::from_secs(7));
}
