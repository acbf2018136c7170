//! A fallback over a circuit breaker, and one for each class of errors.

use std::{
    convert::Infallible,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::time::{Instant, sleep, timeout};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, limit::ConcurrencyLimit, service_fn,
    util::BoxCloneService,
};
use tower_throttle::{
    BoxError, Circuit, CircuitBreakerLayer, CircuitOpen, FallbackLayer, Outcome, Quota,
    RetryAfterBackoffLayer, TokenBucketLayer, Tokens,
    circuit::State,
    fallback::{Condition, ServedBy},
    provider::{Provider, ProviderLayer},
    replay::{ReplayLayer, body::ReplayBody},
};

use crate::support::{Listening, ms, poll_once};

type Req = Request<String>;
type Res = Response<&'static str>;
type Client = BoxCloneService<Req, Res, BoxError>;

fn answer(status: u16, body: &'static str) -> Res {
    Response::builder().status(status).body(body).unwrap()
}

fn request() -> Req {
    Request::new(String::new())
}

/// Answers after a while with whatever status is set, and counts its calls.
#[derive(Clone)]
struct Primary {
    status: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Primary {
    fn new(status: usize) -> Self {
        let status = Arc::new(AtomicUsize::new(status));
        let calls = Arc::default();
        Self { status, calls }
    }

    fn set(&self, status: usize) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    async fn call(self) -> Result<Res, Infallible> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        sleep(ms(30)).await;
        Ok(answer(
            self.status.load(Ordering::Relaxed) as u16,
            "primary",
        ))
    }

    fn service<R>(
        &self,
    ) -> impl Service<R, Response = Res, Error = Infallible, Future: Send> + Clone + Send + use<R>
    {
        let primary = self.clone();
        service_fn(move |_: R| primary.clone().call())
    }
}

fn backup() -> Res {
    answer(200, "backup")
}

fn open(circuit: &Circuit) -> Duration {
    while !circuit.is_open() {
        circuit.enter().unwrap().failed(None);
    }
    circuit.retry_after().unwrap()
}

async fn send(client: &Client) -> Res {
    client.clone().oneshot(request()).await.unwrap()
}

/// Over a limit of this many at once and then one an hour, with a breaker on each side of it.
fn over_a_bucket(circuit: &Circuit, burst: u64, primary: &Primary) -> Client {
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(backup()))
        .layer(CircuitBreakerLayer::from(circuit.clone()).check_only())
        .layer(TokenBucketLayer::new(Quota::per_hour(1).burst(burst)))
        .layer(CircuitBreakerLayer::from(circuit.clone()))
        .service(primary.service());
    BoxCloneService::new(client)
}

/// Two thousand requests, one every 10 ms, and then some more; the primary is dead for the second third of the two thousand. How many met it while it was dead, and
/// how long after it was well again, and the circuit's cooldown then, it answered.
async fn a_dead_third(
    client: Client,
    circuit: &Circuit,
    primary: &Primary,
) -> (usize, Duration, Duration) {
    let (mut before, mut cooldown, mut well) = (0, Duration::ZERO, Instant::now());
    let mut answers = Vec::new();
    for n in 0..3_000 {
        match n {
            667 => {
                before = primary.calls();
                primary.set(503);
            }
            1_333 => {
                primary.set(200);
                before = primary.calls() - before;
                well = Instant::now();
                cooldown = circuit.retry_after().unwrap();
            }
            _ => {}
        }
        let client = client.clone();
        answers.push(tokio::spawn(async move {
            let began = Instant::now();
            (began, client.oneshot(request()).await)
        }));
        sleep(ms(10)).await;
    }
    let mut back = Duration::MAX;
    for answer in answers {
        let (began, answer) = answer.await.unwrap();
        let answer = answer.unwrap();
        assert_eq!(answer.status(), 200, "everybody is answered");
        if ServedBy::of(&answer).is_primary() && began >= well {
            back = back.min(began - well);
        }
    }
    (before, back, cooldown)
}

#[tokio::test(start_paused = true)]
async fn a_primary_that_is_dead_for_a_third_is_met_by_one_in_a_hundred_and_asked_within_a_cooldown()
{
    let (circuit, primary) = (Circuit::new(), Primary::new(200));
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(backup()))
        .layer(CircuitBreakerLayer::from(circuit.clone()).check_only())
        .layer(TokenBucketLayer::new(Quota::per_second(1_000)))
        .layer(CircuitBreakerLayer::from(circuit.clone()))
        .service(primary.service());
    let (met, back, cooldown) =
        a_dead_third(BoxCloneService::new(client), &circuit, &primary).await;
    // Six, those under way by then, and a probe each for cooldowns of one, two and four seconds.
    assert!((6..=20).contains(&met), "{met}");
    // It may have been over already, with the probe under way.
    assert!(back <= cooldown + ms(50), "{back:?} after {cooldown:?}");
}

#[tokio::test(start_paused = true)]
async fn so_it_is_with_one_breaker_and_a_retry() {
    let (circuit, primary) = (Circuit::new(), Primary::new(200));
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(backup()))
        .layer(RetryAfterBackoffLayer::new())
        .layer(CircuitBreakerLayer::from(circuit.clone()))
        .service(primary.service());
    let (met, back, cooldown) =
        a_dead_third(BoxCloneService::new(client), &circuit, &primary).await;
    assert!((6..=20).contains(&met), "{met}");
    assert!(back <= cooldown + ms(50), "{back:?} after {cooldown:?}");
}

#[tokio::test(start_paused = true)]
async fn while_it_is_open_nobody_waits_in_the_primarys_queue() {
    let (circuit, primary) = (Circuit::new(), Primary::new(200));
    let client = over_a_bucket(&circuit, 1, &primary);
    send(&client).await;
    open(&circuit);
    let start = Instant::now();
    for _ in 0..100 {
        let answer = send(&client).await;
        let by = ServedBy::of(&answer);
        assert!(!by.is_primary() && by.is_circuit_open());
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(primary.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_backup_answers_where_the_probe_fails() {
    let (circuit, primary) = (Circuit::new(), Primary::new(503));
    let client = over_a_bucket(&circuit, 10, &primary);
    sleep(open(&circuit)).await;
    let by = ServedBy::of(&send(&client).await);
    assert!(!by.is_primary() && !by.is_circuit_open());
    assert_eq!((primary.calls(), circuit.state()), (1, State::Open));
}

#[tokio::test(start_paused = true)]
async fn if_no_backup_is_for_it_the_rejection_is_returned() {
    let (circuit, primary) = (Circuit::new(), Primary::new(200));
    open(&circuit);
    let inner = CircuitBreakerLayer::from(circuit).check_only();
    let inner = inner.layer(primary.service());
    let picky = FallbackLayer::value(backup()).when(Condition::status([404]));
    let error = picky.layer(inner.clone()).oneshot(request()).await;
    assert!(error.unwrap_err().is::<CircuitOpen>());
    let too_long =
        FallbackLayer::value(backup()).when(Condition::outcome([Outcome::ContextTooLong]));
    let error = too_long.layer(inner.clone()).oneshot(request()).await;
    assert!(error.unwrap_err().is::<CircuitOpen>());
    // A circuit that is open is an overload.
    let overload = FallbackLayer::value(backup()).when(Condition::outcome([Outcome::Overloaded]));
    let answer = overload.layer(inner).oneshot(request()).await;
    assert_eq!(*answer.unwrap().body(), "backup");
    assert_eq!(primary.calls(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_for_a_kind_of_failure_is_so_while_the_circuit_is_open_for_it() {
    for (status, kind, other) in [
        (429, Outcome::RateLimited, Outcome::Timeout),
        (504, Outcome::Timeout, Outcome::RateLimited),
    ] {
        let (circuit, primary) = (Circuit::new(), Primary::new(status));
        let fallback = |kind| {
            ServiceBuilder::new()
                .layer(FallbackLayer::value(backup()).when(Condition::outcome([kind])))
                .layer(CircuitBreakerLayer::from(circuit.clone()))
                .service(primary.service())
        };
        for n in 0..10 {
            let answer = fallback(kind).oneshot(request()).await.unwrap();
            assert_eq!(*answer.body(), "backup", "{n}");
        }
        let checks = ServiceBuilder::new()
            .layer(FallbackLayer::value(backup()).when(Condition::outcome([kind])))
            .layer(CircuitBreakerLayer::from(circuit.clone()).check_only())
            .service(primary.service());
        let answer = checks.oneshot(request()).await.unwrap();
        assert!(ServedBy::of(&answer).is_circuit_open());
        assert_eq!(primary.calls(), 6);
        let error = fallback(other).oneshot(request()).await.unwrap_err();
        let open = error.downcast_ref::<CircuitOpen>().unwrap();
        assert_eq!(open.opened_by(), Some(kind));
        // It stays so for those who come while one finds out.
        tokio::time::sleep(open.retry_after().unwrap()).await;
        let probe = circuit.enter().unwrap();
        assert_eq!(circuit.enter().unwrap_err().opened_by(), Some(kind));
        probe.failed(None);
        assert_eq!(circuit.enter().unwrap_err().opened_by(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn a_closure_is_told_that_the_primary_was_left_alone() {
    let circuit = Circuit::new();
    open(&circuit);
    let layer = FallbackLayer::from_fn(|failed: Result<Res, BoxError>| match failed {
        Err(error) if error.is::<CircuitOpen>() => answer(200, "left alone"),
        _ => answer(200, "something else"),
    });
    let check = CircuitBreakerLayer::from(circuit).check_only();
    let client = layer.layer(check.layer(Primary::new(200).service()));
    assert_eq!(
        *client.oneshot(request()).await.unwrap().body(),
        "left alone"
    );
}

#[tokio::test(start_paused = true)]
async fn where_the_backup_fails_the_next_one_answers() {
    let circuit = Circuit::new();
    open(&circuit);
    let bodies = Arc::new(Mutex::new(Vec::new()));
    let seen = bodies.clone();
    let fails = service_fn(move |request: Req| {
        seen.lock().unwrap().push(request.into_body());
        std::future::ready(Ok::<_, Infallible>(answer(500, "second")))
    });
    let primary = Primary::new(200);
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(backup()).named("third"))
        .layer(FallbackLayer::new(fails.clone()))
        .layer(FallbackLayer::new(fails))
        .layer(CircuitBreakerLayer::from(circuit).check_only())
        .service(primary.service());
    let answer = client.oneshot(Request::new("hi".into())).await.unwrap();
    assert_eq!(ServedBy::of(&answer).name(), Some("third"));
    assert_eq!(primary.calls(), 0);
    assert_eq!(*bodies.lock().unwrap(), ["hi", "hi"]);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_by_itself_tells_as_much() {
    let layer = CircuitBreakerLayer::new();
    open(&layer.circuit());
    let inner = layer.layer(Primary::new(200).service());
    let client = FallbackLayer::value(backup()).layer(inner);
    let by = ServedBy::of(&client.oneshot(request()).await.unwrap());
    assert!(by.is_circuit_open());
    let broken = Primary::new(503).service();
    let client = FallbackLayer::value(backup()).layer(broken);
    let by = ServedBy::of(&client.oneshot(request()).await.unwrap());
    assert!(!by.is_circuit_open());
}

#[tokio::test(start_paused = true)]
async fn one_that_leaves_the_primary_alone_lets_go_of_the_ready_instance() {
    let circuit = Circuit::new();
    let limited = ConcurrencyLimit::new(Primary::new(200).service(), 1);
    let mut client = ServiceBuilder::new()
        .layer(FallbackLayer::value(backup()))
        .layer(CircuitBreakerLayer::from(circuit.clone()).check_only())
        .service(limited.clone());
    client.ready().await.unwrap();
    let wait = open(&circuit);
    let answered = client.call(request());
    assert!(poll_once(limited.clone().ready()).await.is_some());
    assert_eq!(*answered.await.unwrap().body(), "backup");
    // And goes on with a ready one when it is asked again.
    sleep(wait).await;
    let answer = timeout(ms(100), client.ready().await.unwrap().call(request()));
    assert_eq!(*answer.await.unwrap().unwrap().body(), "primary");
}

#[tokio::test(start_paused = true)]
async fn responses_of_any_type_can_be_checked() {
    let layer = CircuitBreakerLayer::new();
    let circuit = layer.circuit();
    open(&circuit);
    let primary = layer
        .clone()
        .any_response()
        .layer(service_fn(async |n: u32| Ok::<_, Infallible>(n)));
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(7).any_response::<u32>())
        .layer(layer.clone().any_response().check_only())
        .service(primary);
    assert_eq!(client.clone().oneshot(1).await.unwrap(), 7);
    sleep(circuit.retry_after().unwrap()).await;
    assert_eq!(client.oneshot(1).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_hands_over_at_once_and_opens_nothing() {
    let circuit = Circuit::new().failures(1);
    let primary = Primary::new(200);
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(backup()))
        .layer(CircuitBreakerLayer::from(circuit.clone()).check_only())
        .layer(TokenBucketLayer::new(Quota::per_second(1)).max_wait(ms(2_000)))
        .layer(CircuitBreakerLayer::from(circuit.clone()))
        .service(primary.service::<Req>());
    let start = Instant::now();
    let answers = join_all((0..100).map(|_| client.clone().oneshot(request()))).await;
    // One at once, one after a second, one after two.
    assert_eq!(start.elapsed(), ms(2_030));
    assert_eq!(primary.calls(), 3);
    for answer in answers {
        assert!(!ServedBy::of(&answer.unwrap()).is_circuit_open());
    }
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_providers_queue_that_is_too_long_hands_over_at_once_and_opens_nothing() {
    let circuit = Circuit::new().failures(1);
    let says = |body: &'static str| {
        service_fn(move |_: Req| {
            let body = Full::new(Bytes::from(body));
            std::future::ready(Ok::<_, Infallible>(Response::new(body)))
        })
    };
    let tokens = |_: &Req| Tokens::new(500, 0);
    let provider = |tpm| ProviderLayer::new(Provider::new("p").tpm(tpm).window()).estimate(tokens);
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(
            provider(1_000_000).layer(says("backup")),
        ))
        .layer(CircuitBreakerLayer::from(circuit.clone()).check_only())
        .layer(provider(1_000).max_wait(ms(10_000)))
        .layer(CircuitBreakerLayer::from(circuit.clone()))
        .service(says("primary"));
    let start = Instant::now();
    for n in 0..10 {
        let answer = client.clone().oneshot(request()).await.unwrap();
        assert_eq!(ServedBy::of(&answer).is_primary(), n < 2, "{n}");
        answer.into_body().collect().await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(circuit.state(), State::Closed);
    // Nor does a refusal of the one that was to find out.
    sleep(open(&circuit)).await;
    for _ in 0..10 {
        let answer = client.clone().oneshot(request()).await.unwrap();
        assert!(!ServedBy::of(&answer).is_primary());
        assert_eq!(circuit.state(), State::HalfOpen);
    }
    // Once there is room again, the next one is asked and closes it.
    sleep(ms(62_000)).await;
    let answer = client.clone().oneshot(request()).await.unwrap();
    assert!(ServedBy::of(&answer).is_primary());
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_longer_whole_is_not_sent_to_the_backup() {
    let called = Arc::new(AtomicUsize::new(0));
    let calls = called.clone();
    let backup = service_fn(move |request: Request<ReplayBody<Full<Bytes>>>| {
        let calls = calls.clone();
        async move {
            calls.fetch_add(1, Ordering::Relaxed);
            let body = request.into_body().collect().await?.to_bytes();
            Ok::<_, BoxError>(Response::new(body))
        }
    });
    let reads_and_fails = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        request.into_body().collect().await?;
        let busy = Response::builder().status(503);
        Ok::<_, BoxError>(busy.body(Bytes::from("busy"))?)
    });
    let send = async |max_bytes| {
        let client = ServiceBuilder::new()
            .layer(ReplayLayer::new().max_bytes(max_bytes))
            .layer(FallbackLayer::new(backup.clone()))
            .service(reads_and_fails);
        let request = Request::new(Full::new(Bytes::from("hello")));
        client.oneshot(request).await.unwrap()
    };
    assert_eq!(send(1_000).await.body(), "hello");
    assert_eq!(called.load(Ordering::Relaxed), 1);
    let answer = send(3).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.body()[..]),
        (503, &b"busy"[..])
    );
    assert_eq!(called.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn a_recorded_body_is_sent_to_one_backup_after_another() {
    let reads_and_fails = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        request.into_body().collect().await?;
        let busy = Response::builder().status(503);
        Ok::<_, BoxError>(busy.body(Bytes::from("busy"))?)
    });
    let echo = service_fn(async |request: Request<ReplayBody<Full<Bytes>>>| {
        let body = request.into_body().collect().await?.to_bytes();
        Ok::<_, BoxError>(Response::new(body))
    });
    let client = ServiceBuilder::new()
        .layer(ReplayLayer::new())
        .layer(FallbackLayer::new(echo).named("third"))
        .layer(FallbackLayer::new(reads_and_fails).named("second"))
        .service(reads_and_fails);
    let request = Request::new(Full::new(Bytes::from("hello")));
    let answer = client.oneshot(request).await.unwrap();
    assert_eq!(ServedBy::of(&answer).name(), Some("third"));
    assert_eq!(answer.body(), "hello");
}

/// Answers with a status, and with a kind if there is one.
fn kind(
    status: u16,
    kind: Option<Outcome>,
    body: &'static str,
) -> impl Service<Req, Response = Res, Error = BoxError, Future: Send> + Clone + Send {
    service_fn(move |_: Req| {
        let mut response = answer(status, body);
        if let Some(kind) = kind {
            response.extensions_mut().insert(kind);
        }
        std::future::ready(Ok(response))
    })
}

#[tokio::test(start_paused = true)]
async fn each_class_of_errors_has_its_own_target() {
    let other = FallbackLayer::new(kind(200, None, "other provider"))
        .named("other")
        .when(Condition::outcome([
            Outcome::RateLimited,
            Outcome::Overloaded,
        ]));
    let long = FallbackLayer::new(kind(200, None, "long context"))
        .when(Condition::outcome([Outcome::ContextTooLong]))
        .named("long");
    let broken = FallbackLayer::value(answer(200, "broken")).when(
        Condition::outcome([Outcome::NotSent, Outcome::Interrupted]).or(Condition::status([500])),
    );
    let layer = ServiceBuilder::new().layer(broken).layer(long).layer(other);
    let table = [
        (200, None, "primary", None),
        (429, None, "other provider", Some("other")),
        (503, None, "other provider", Some("other")),
        (
            400,
            Some(Outcome::ContextTooLong),
            "long context",
            Some("long"),
        ),
        (500, None, "broken", None),
        // The default condition would have these.
        (502, None, "primary", None),
        (504, None, "primary", None),
        (400, None, "primary", None),
        (429, Some(Outcome::QuotaExhausted), "primary", None),
    ];
    for (status, note, body, name) in table {
        let client = layer.clone().service(kind(status, note, "primary"));
        let answer = client.oneshot(request()).await.unwrap();
        assert_eq!(*answer.body(), body, "{status}");
        let by = ServedBy::of(&answer);
        assert_eq!(by.name(), name);
        assert_eq!(by.is_primary(), body == "primary");
        if by.is_primary() {
            assert_eq!(answer.status(), status, "unchanged");
        }
    }
    let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
    let client = layer
        .clone()
        .service(service_fn(async |_: Req| Err::<Res, _>(refused())));
    assert_eq!(*client.oneshot(request()).await.unwrap().body(), "broken");
    let client = layer.service(service_fn(async |_: Req| Err::<Res, _>("another error")));
    assert_eq!(
        client.oneshot(request()).await.unwrap_err().to_string(),
        "another error"
    );
}

#[tokio::test(start_paused = true)]
async fn one_without_a_condition_is_for_any_failure() {
    let long = FallbackLayer::new(kind(200, None, "long context"))
        .when(Condition::outcome([Outcome::ContextTooLong]));
    let layer = ServiceBuilder::new()
        .layer(FallbackLayer::new(kind(200, None, "any failure")))
        .layer(long);
    let body = async |status, note| {
        let client = layer.clone().service(kind(status, note, "primary"));
        *client.oneshot(request()).await.unwrap().body()
    };
    assert_eq!(
        body(400, Some(Outcome::ContextTooLong)).await,
        "long context"
    );
    assert_eq!(body(503, None).await, "any failure");
    assert_eq!(body(400, None).await, "primary");
    assert_eq!(body(200, None).await, "primary");
}

#[tokio::test(start_paused = true)]
async fn a_condition_is_asked_about_what_came_before_it() {
    let too_large = Condition::outcome([Outcome::ClientError]);
    let small = FallbackLayer::new(kind(413, None, "too small a model"))
        .when(Condition::outcome([Outcome::RateLimited]));
    let large = FallbackLayer::new(kind(200, None, "a large one")).when(too_large.clone());
    let never = FallbackLayer::new(kind(200, None, "never"))
        .when(Condition::outcome([Outcome::ClientError]).and(Condition::status([414])));
    let client = ServiceBuilder::new()
        .layer(never)
        .layer(large)
        .layer(small)
        .service(kind(429, None, "primary"));
    let answer = client.oneshot(request()).await.unwrap();
    assert_eq!(*answer.body(), "a large one");
    // The first one's outcome, if the second is not for it.
    let second = FallbackLayer::new(kind(503, None, "second"))
        .when(Condition::outcome([Outcome::RateLimited]))
        .named("second");
    let third = FallbackLayer::new(kind(200, None, "third")).when(too_large);
    let client = ServiceBuilder::new()
        .layer(third)
        .layer(second)
        .service(kind(429, None, "primary"));
    let answer = client.oneshot(request()).await.unwrap();
    assert_eq!(
        (*answer.body(), ServedBy::of(&answer).name()),
        ("second", Some("second"))
    );
}

#[tokio::test]
async fn an_event_says_that_the_primary_was_left_alone() {
    let events = Listening::start();
    let circuit = Circuit::new()
        .failures(1)
        .cooldown(Duration::ZERO, Duration::ZERO);
    circuit.enter().unwrap().failed(None);
    let probe = circuit.enter().unwrap();
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(backup()).named("spare"))
        .layer(CircuitBreakerLayer::from(circuit))
        .service(kind(200, None, "primary"));
    client.oneshot(request()).await.unwrap();
    probe.succeeded();
    let lines = events.lines();
    assert_eq!(
        lines,
        [
            "circuit opened cooldown=0ns",
            "circuit is open retry_after=None",
            "falling back name=\"spare\" failed=\"circuit open\"",
            "circuit closed",
        ]
    );
}
