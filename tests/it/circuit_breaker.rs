//! The CircuitBreaker layer, and the circuit by itself.

use std::{
    convert::Infallible,
    future::{Ready, pending, ready},
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::future::join_all;
use http::{Request, Response};
use tokio::time::{Instant, sleep, timeout};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt,
    limit::{ConcurrencyLimit, GlobalConcurrencyLimitLayer},
    service_fn,
    util::BoxCloneService,
};
use tower_throttle::{
    BoxError, Circuit, CircuitBreaker, CircuitBreakerLayer, CircuitOpen, Classify,
    ConcurrencyLimiter, ErrorClassifier, FallbackLayer, Hint, HttpClassifier, Outcome, Quota,
    RetryAfterBackoffLayer, TimedOut, TokenBucketLayer,
    circuit::{CallGuard, State},
    circuit_breaker::future::ResponseFuture,
    fallback::AnsweredBy,
};

use crate::support::{ms, poll_once, probe};

type Req = Request<()>;
type Res = Response<&'static str>;
type Client = BoxCloneService<Req, Res, BoxError>;

fn answer(status: u16) -> Res {
    Response::builder().status(status).body("primary").unwrap()
}

fn told(status: u16, wait: &str) -> Res {
    let mut response = answer(status);
    let headers = response.headers_mut();
    headers.insert("retry-after", wait.parse().unwrap());
    response
}

/// Answers with whatever status is set, and counts its calls.
#[derive(Clone)]
struct Primary {
    status: Arc<AtomicUsize>,
    calls: Arc<AtomicUsize>,
}

impl Primary {
    fn new(status: usize) -> Self {
        Self {
            status: Arc::new(AtomicUsize::new(status)),
            calls: Arc::default(),
        }
    }

    fn set(&self, status: usize) {
        self.status.store(status, Ordering::Relaxed);
    }

    fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }
}

impl Service<Req> for Primary {
    type Response = Res;
    type Error = Infallible;
    type Future = Ready<Result<Res, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Req) -> Self::Future {
        self.calls.fetch_add(1, Ordering::Relaxed);
        ready(Ok(answer(self.status.load(Ordering::Relaxed) as u16)))
    }
}

fn is_open(error: &BoxError) -> bool {
    error.is::<CircuitOpen>()
}

/// Opens it, and returns for how long.
fn open(circuit: &Circuit, hint: Option<Duration>) -> Duration {
    while !circuit.is_open() {
        circuit.enter().unwrap().failed(hint);
    }
    circuit.retry_after().unwrap()
}

#[tokio::test(start_paused = true)]
async fn after_six_failures_in_a_row_it_is_called_no_more_until_the_cooldown_is_over() {
    let primary = Primary::new(500);
    let layer = CircuitBreakerLayer::new();
    let circuit = layer.circuit();
    let client = layer.layer(primary.clone());
    let send = || client.clone().oneshot(Request::new(()));
    for _ in 0..6 {
        assert_eq!(circuit.state(), State::Closed);
        assert_eq!(send().await.unwrap().status(), 500);
    }
    assert_eq!(circuit.state(), State::Open);
    for _ in 0..100 {
        let error = send().await.unwrap_err();
        let open = error.downcast_ref::<CircuitOpen>().unwrap();
        assert_eq!(open.retry_after(), circuit.retry_after());
        let wait = open.retry_after().unwrap();
        assert!(wait >= ms(500) && wait <= ms(1_000), "{wait:?}");
    }
    assert_eq!(primary.calls(), 6);

    sleep(circuit.retry_after().unwrap()).await;
    assert_eq!(circuit.state(), State::HalfOpen);
    assert!(!circuit.is_open());
    assert_eq!(send().await.unwrap().status(), 500);
    assert_eq!(primary.calls(), 7);
    let longer = circuit.retry_after().unwrap();
    assert!(longer >= ms(1_000) && longer <= ms(2_000), "{longer:?}");

    primary.set(200);
    sleep(longer).await;
    assert_eq!(send().await.unwrap().status(), 200);
    assert_eq!(circuit.state(), State::Closed);
    // What was before is forgotten, the length of the cooldown too.
    primary.set(500);
    for _ in 0..6 {
        assert_eq!(send().await.unwrap().status(), 500);
    }
    assert!(circuit.retry_after().unwrap() <= ms(1_000));
}

#[tokio::test(start_paused = true)]
async fn cooldowns_double_up_to_a_minute_and_differ() {
    let mut firsts = Vec::new();
    for _ in 0..20 {
        let circuit = Circuit::new();
        let mut most = ms(1_000);
        firsts.push(open(&circuit, None));
        for _ in 0..10 {
            let wait = circuit.retry_after().unwrap();
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
            most = (most * 2).min(ms(60_000));
            sleep(wait).await;
            circuit.enter().unwrap().failed(None);
        }
    }
    firsts.dedup();
    assert!(firsts.len() > 10, "no chance in it");
}

#[tokio::test(start_paused = true)]
async fn the_servers_wish_is_the_least_and_five_minutes_the_most() {
    let wait = |hint| open(&Circuit::new(), Some(hint));
    assert!(wait(Duration::ZERO) <= ms(1_000));
    let asked = ms(30_000);
    assert!(wait(asked) >= asked && wait(asked) <= asked + ms(1_000));
    let most = ms(301_000);
    assert!(wait(Duration::MAX) >= ms(300_000) && wait(Duration::MAX) <= most);
    let none = Circuit::new().longest_hint(Duration::ZERO);
    assert!(open(&none, Some(Duration::MAX)) <= ms(1_000));
    // Said by one that did not open it yet.
    let circuit = Circuit::new().failures(2);
    circuit.enter().unwrap().failed(Some(ms(20_000)));
    sleep(ms(5_000)).await;
    circuit.enter().unwrap().failed(None);
    assert!(circuit.retry_after().unwrap() >= ms(15_000));
    // Unless there was a success since.
    let circuit = Circuit::new().failures(1);
    let (first, second) = (circuit.enter().unwrap(), circuit.enter().unwrap());
    second.succeeded();
    first.failed(None);
    assert!(circuit.retry_after().unwrap() <= ms(1_000));
}

#[tokio::test(start_paused = true)]
async fn a_response_with_a_retry_after_is_obeyed() {
    let busy = service_fn(async |_: Req| {
        let mut response = answer(429);
        let headers = response.headers_mut();
        headers.insert("retry-after", "17".parse().unwrap());
        Ok::<_, Infallible>(response)
    });
    let layer = CircuitBreakerLayer::new();
    let client = layer.layer(busy);
    for _ in 0..6 {
        client.clone().oneshot(Request::new(())).await.unwrap();
    }
    let wait = layer.circuit().retry_after().unwrap();
    assert!(wait >= ms(17_000) && wait <= ms(18_700), "{wait:?}");
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_at_once_one_finds_out() {
    let layer = CircuitBreakerLayer::new();
    let circuit = layer.circuit();
    sleep(open(&circuit, None)).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let slow = service_fn(move |_: Req| {
        let calls = counted.clone();
        async move {
            calls.fetch_add(1, Ordering::Relaxed);
            sleep(ms(100)).await;
            Ok::<_, Infallible>(answer(200))
        }
    });
    let client = layer.layer(slow);
    let requests = (0..1_000).map(|_| client.clone().oneshot(Request::new(())));
    let outcomes = join_all(requests).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    let (answered, failed): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
    assert_eq!((answered.len(), failed.len()), (1, 999));
    for error in failed.into_iter().map(Result::unwrap_err) {
        let open = error.downcast_ref::<CircuitOpen>().unwrap();
        assert_eq!(open.retry_after(), None);
    }
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_dropped_frees_its_place_at_any_stage() {
    let layer = CircuitBreakerLayer::new();
    let circuit = layer.circuit();
    sleep(open(&circuit, None)).await;
    let mut client = layer.layer(service_fn(|_: Req| pending::<Result<Res, Infallible>>()));
    let unpolled = client.call(Request::new(()));
    assert!(circuit.is_open());
    drop(unpolled);
    assert!(!circuit.is_open());
    let polled = timeout(ms(10), client.call(Request::new(())));
    assert!(polled.await.is_err());
    assert_eq!(circuit.state(), State::HalfOpen);
    let watch = circuit.enter().unwrap();
    assert!(circuit.enter().is_err());
    watch.ignored();
    circuit.enter().unwrap().succeeded();
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_panics_frees_its_place() {
    let layer = CircuitBreakerLayer::new();
    let circuit = layer.circuit();
    sleep(open(&circuit, None)).await;
    let at_once = layer.layer(service_fn(|_: Req| -> Ready<Result<Res, Infallible>> {
        panic!("in call")
    }));
    let later = layer.layer(service_fn(async |_: Req| -> Result<Res, Infallible> {
        panic!("in poll")
    }));
    assert!(
        tokio::spawn(at_once.oneshot(Request::new(())))
            .await
            .is_err()
    );
    assert!(!circuit.is_open());
    assert!(tokio::spawn(later.oneshot(Request::new(()))).await.is_err());
    assert!(!circuit.is_open());
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_hangs_does_not_keep_it_open_for_ever() {
    let circuit = Circuit::new();
    sleep(open(&circuit, None)).await;
    let hangs = circuit.enter().unwrap();
    sleep(ms(59_999)).await;
    assert!(circuit.is_open());
    sleep(ms(1)).await;
    let second = circuit.enter().unwrap();
    assert!(circuit.enter().is_err(), "one at a time all the same");
    hangs.failed(None);
    assert!(circuit.enter().is_err(), "the second has yet to say");
    second.succeeded();
    assert_eq!(circuit.state(), State::Closed);
    // And one that is late may bring good news.
    sleep(open(&circuit, None)).await;
    let late = circuit.enter().unwrap();
    sleep(ms(60_000)).await;
    let second = circuit.enter().unwrap();
    late.succeeded();
    assert_eq!(circuit.state(), State::Closed);
    second.failed(None);
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn stragglers_neither_close_it_nor_open_it_again() {
    let circuit = Circuit::new();
    let mut early: Vec<CallGuard> = (0..30).map(|_| circuit.enter().unwrap()).collect();
    let wait = open(&circuit, None);
    early.pop().unwrap().succeeded();
    early.pop().unwrap().failed(Some(ms(60_000)));
    assert_eq!(circuit.retry_after(), Some(wait));
    sleep(wait).await;
    early.pop().unwrap().failed(None);
    early.pop().unwrap().ignored();
    assert_eq!(circuit.state(), State::HalfOpen);
    circuit.enter().unwrap().succeeded();
    for watch in early {
        watch.failed(None);
    }
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn half_of_twenty_within_ten_seconds_open_it() {
    let every_other = async |gap: Duration| {
        let circuit = Circuit::new();
        for n in 0..100 {
            let Ok(watch) = circuit.enter() else {
                return Some(n);
            };
            match n % 2 {
                0 => watch.succeeded(),
                _ => watch.failed(None),
            }
            sleep(gap).await;
        }
        None
    };
    assert_eq!(every_other(ms(10)).await, Some(20));
    // Nineteen within ten seconds.
    assert_eq!(every_other(ms(540)).await, None);
}

#[tokio::test(start_paused = true)]
async fn clones_and_layers_made_from_one_circuit_share_it() {
    let circuit = Circuit::new();
    let first = CircuitBreakerLayer::from(circuit.clone()).layer(Primary::new(500));
    let second = CircuitBreakerLayer::from(circuit.clone()).layer(Primary::new(200));
    let apart = CircuitBreakerLayer::new().layer(Primary::new(200));
    for _ in 0..6 {
        first.clone().oneshot(Request::new(())).await.unwrap();
    }
    assert!(circuit.is_open() && first.circuit().is_open() && second.circuit().is_open());
    let error = second.oneshot(Request::new(())).await.unwrap_err();
    assert!(is_open(&error));
    apart.oneshot(Request::new(())).await.unwrap();
    // A setter makes one of its own.
    assert!(!circuit.clone().failures(1).is_open());
}

#[tokio::test(start_paused = true)]
async fn waits_from_bodies_and_resets_are_the_cooldown() {
    let after = async |response: fn() -> Res| {
        let layer = CircuitBreakerLayer::from(Circuit::new().failures(1));
        let client = layer.layer(service_fn(move |_: Req| {
            ready(Ok::<_, BoxError>(response()))
        }));
        client.oneshot(Request::new(())).await.unwrap();
        layer.circuit().retry_after().unwrap()
    };
    let read = after(|| {
        let mut response = answer(503);
        let hint = Hint::new(Some(Duration::from_secs(42)), None);
        response.extensions_mut().insert(hint);
        response
    });
    let reset = after(|| {
        let mut response = answer(429);
        let headers = response.headers_mut();
        headers.insert("x-ratelimit-remaining", "0".parse().unwrap());
        headers.insert("x-ratelimit-reset", "42".parse().unwrap());
        response
    });
    for cooldown in [read.await, reset.await] {
        assert!((42..44).contains(&cooldown.as_secs()), "{cooldown:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_counts_as_a_failure() {
    let judged = async |outcome: fn() -> Result<Res, BoxError>| {
        let layer = CircuitBreakerLayer::from(Circuit::new().failures(1));
        let client = layer.layer(service_fn(move |_: Req| ready(outcome())));
        let _ = client.oneshot(Request::new(())).await;
        layer.circuit().is_open()
    };
    assert!(judged(|| Ok(answer(500))).await);
    assert!(judged(|| Ok(answer(503))).await);
    assert!(judged(|| Ok(answer(529))).await);
    assert!(judged(|| Ok(answer(504))).await);
    assert!(judged(|| Ok(answer(429))).await);
    assert!(judged(|| Ok(answer(520))).await);
    assert!(judged(|| Ok(answer(522))).await);
    assert!(judged(|| Ok(answer(498))).await);
    assert!(judged(|| Ok(told(403, "60"))).await);
    assert!(judged(|| Ok(told(413, "60"))).await);
    assert!(!judged(|| Ok(answer(403))).await);
    assert!(!judged(|| Ok(answer(413))).await);
    assert!(!judged(|| Ok(answer(511))).await);
    assert!(judged(|| Err(TimedOut::Attempt(ms(1)).into())).await);
    assert!(judged(|| Err(io::Error::from(io::ErrorKind::ConnectionRefused).into())).await);
    assert!(!judged(|| Ok(answer(200))).await);
    assert!(!judged(|| Ok(answer(400))).await);
    assert!(!judged(|| Ok(answer(402))).await);
    assert!(!judged(|| Err("something else".into())).await);
    assert!(
        !judged(|| {
            let rejected = ConcurrencyLimiter::new(0).try_acquire().unwrap_err();
            Err(io::Error::other(rejected).into())
        })
        .await
    );
    assert!(
        !judged(|| {
            let circuit = Circuit::new();
            open(&circuit, None);
            Err(io::Error::other(circuit.enter().unwrap_err()).into())
        })
        .await
    );
}

#[tokio::test(start_paused = true)]
async fn an_error_that_says_nothing_and_a_success_differ() {
    // Seen by the row: a success ends it, what says nothing does not.
    let layer = CircuitBreakerLayer::from(Circuit::new().failures(2));
    let script = Arc::new(Mutex::new(Vec::new()));
    let scripted = script.clone();
    let client = layer.layer(service_fn(move |_: Req| {
        let next: Result<Res, BoxError> = scripted.lock().unwrap().pop().unwrap();
        ready(next)
    }));
    let run = async |outcomes: Vec<Result<Res, BoxError>>| {
        *script.lock().unwrap() = outcomes;
        while !script.lock().unwrap().is_empty() {
            let _ = client.clone().oneshot(Request::new(())).await;
        }
        layer.circuit().is_open()
    };
    assert!(!run(vec![Ok(answer(500)), Ok(answer(404)), Ok(answer(500))]).await);
    // One is in the row already.
    assert!(run(vec![Ok(answer(500)), Err("other".into())]).await);
}

#[tokio::test(start_paused = true)]
async fn failures_and_the_classifier_can_be_set() {
    #[derive(Clone)]
    struct Own;
    impl Classify<Res> for Own {
        fn classify(&self, result: Result<&Res, &BoxError>) -> Option<Outcome> {
            match result {
                Ok(response) if *response.body() == "primary" => Some(Outcome::ServerError),
                _ => Some(Outcome::Success),
            }
        }

        fn hint(&self, _: &Res) -> Hint {
            Hint::new(Some(ms(9_000)), None)
        }
    }

    let once = || CircuitBreakerLayer::from(Circuit::new().failures(1));
    let money = once().failure_outcomes([Outcome::QuotaExhausted]);
    for (status, expected) in [(500, false), (402, true)] {
        let client = money.layer(Primary::new(status));
        client.oneshot(Request::new(())).await.unwrap();
        assert_eq!(money.circuit().is_open(), expected);
    }
    let own = once().classify(Own);
    let client = own.layer(Primary::new(200));
    client.oneshot(Request::new(())).await.unwrap();
    assert!(own.circuit().retry_after().unwrap() >= ms(9_000));
    let closure = once().classify(|result: Result<&Res, &BoxError>| Own.classify(result));
    let client = closure.layer(Primary::new(200));
    client.oneshot(Request::new(())).await.unwrap();
    assert!(closure.circuit().is_open());
    let any = once().any_response();
    let client = any.layer(service_fn(async |n: u32| match n {
        0 => Err(BoxError::from(TimedOut::Attempt(ms(1)))),
        n => Ok(n),
    }));
    assert_eq!(client.clone().oneshot(1).await.unwrap(), 1);
    client.clone().oneshot(0).await.unwrap_err();
    assert!(is_open(&client.oneshot(1).await.unwrap_err()));
}

#[tokio::test(start_paused = true)]
async fn a_retry_does_not_repeat_what_a_circuit_turned_away() {
    let primary = Primary::new(200);
    let layer = CircuitBreakerLayer::new();
    open(&layer.circuit(), None);
    let client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(layer)
        .service(primary.clone());
    let start = Instant::now();
    let error = client.oneshot(Request::new(())).await.unwrap_err();
    assert!(is_open(&error));
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(primary.calls(), 0);
    assert_eq!(Outcome::of_error(&error), None);
    let wrapped: BoxError = io::Error::other(error).into();
    assert_eq!(Outcome::of_error(&wrapped), None);
}

#[tokio::test(start_paused = true)]
async fn a_fallback_answers_at_once_while_it_is_open() {
    let primary = Primary::new(503);
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::value(Response::new("backup")))
        .layer(CircuitBreakerLayer::new())
        .service(primary.clone());
    for _ in 0..100 {
        let response = client.clone().oneshot(Request::new(())).await.unwrap();
        assert_eq!(*response.body(), "backup");
        assert!(!AnsweredBy::of(&response).is_primary());
    }
    assert_eq!(primary.calls(), 6);
}

#[tokio::test(start_paused = true)]
async fn all_attempts_of_one_request_open_nothing_for_others() {
    let primary = Primary::new(500);
    let layer = CircuitBreakerLayer::new();
    let circuit = layer.circuit();
    let client = ServiceBuilder::new()
        .layer(RetryAfterBackoffLayer::new())
        .layer(layer)
        .service(primary.clone());
    client.oneshot(Request::new(())).await.unwrap();
    assert_eq!((primary.calls(), circuit.state()), (5, State::Closed));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_limits_further_in_opens_nothing() {
    let layer = CircuitBreakerLayer::new();
    let client = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(TokenBucketLayer::new(Quota::per_hour(1)).max_wait(Duration::ZERO))
        .service(Primary::new(200));
    for _ in 0..100 {
        let _ = client.clone().oneshot(Request::new(())).await;
    }
    assert_eq!(layer.circuit().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn one_that_was_turned_away_lets_go_of_the_ready_instance() {
    let limited = ConcurrencyLimit::new(Primary::new(200), 1);
    let layer = CircuitBreakerLayer::new();
    let circuit = layer.circuit();
    let mut client = layer.layer(limited.clone());
    client.ready().await.unwrap();
    open(&circuit, None);
    let turned_away = client.call(Request::new(()));
    assert!(poll_once(limited.clone().ready()).await.is_some());
    assert!(is_open(&turned_away.await.unwrap_err()));
    // And is polled ready before it is called again.
    let mut client = CircuitBreakerLayer::from(circuit.clone())
        .any_response()
        .layer(probe());
    client.ready().await.unwrap().call(()).await.unwrap_err();
    sleep(circuit.retry_after().unwrap()).await;
    client.ready().await.unwrap().call(()).await.unwrap();
}

/// Checks outside of a limit, counts inside of it.
fn checked_outside<S>(circuit: &Circuit, quota: Quota, primary: S) -> Client
where
    S: Service<Req, Response = Res, Error = Infallible, Future: Send> + Clone + Send + 'static,
{
    let client = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::from(circuit.clone()).check_only())
        .layer(TokenBucketLayer::new(quota))
        .layer(CircuitBreakerLayer::from(circuit.clone()))
        .service(primary);
    BoxCloneService::new(client)
}

#[tokio::test(start_paused = true)]
async fn check_only_rejects_before_the_queue() {
    let (circuit, primary) = (Circuit::new(), Primary::new(200));
    let client = checked_outside(&circuit, Quota::per_hour(1), primary.clone());
    let send = || client.clone().oneshot(Request::new(()));
    send().await.unwrap();
    let wait = open(&circuit, None);
    let start = Instant::now();
    for _ in 0..100 {
        let error = send().await.unwrap_err();
        let open = error.downcast_ref::<CircuitOpen>().unwrap();
        assert_eq!(open.retry_after(), Some(wait));
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(primary.calls(), 1);
}

#[tokio::test(start_paused = true)]
async fn check_only_counts_nothing() {
    let layer = CircuitBreakerLayer::from(Circuit::new().failures(1)).check_only();
    let circuit = layer.circuit();
    let primary = Primary::new(500);
    let client = layer.layer(primary.clone());
    let send = || client.clone().oneshot(Request::new(()));
    for _ in 0..30 {
        assert_eq!(send().await.unwrap().status(), 500);
    }
    assert_eq!(circuit.state(), State::Closed);
    // Nor does it take the place of the probe, or close the circuit.
    sleep(open(&circuit, None)).await;
    primary.set(200);
    for _ in 0..30 {
        assert_eq!(send().await.unwrap().status(), 200);
    }
    assert_eq!(circuit.state(), State::HalfOpen);
    assert!(circuit.enter().is_ok());
}

#[tokio::test(start_paused = true)]
async fn check_only_rejects_while_a_probe_is_under_way() {
    let layer = CircuitBreakerLayer::new();
    let circuit = layer.circuit();
    let client = layer.check_only().layer(Primary::new(200));
    sleep(open(&circuit, None)).await;
    let probe = circuit.enter().unwrap();
    let error = client.clone().oneshot(Request::new(())).await.unwrap_err();
    let open = error.downcast_ref::<CircuitOpen>().unwrap();
    assert_eq!(open.retry_after(), None);
    drop(probe);
    client.clone().oneshot(Request::new(())).await.unwrap();
    circuit.enter().unwrap().succeeded();
    client.oneshot(Request::new(())).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn of_a_thousand_in_the_queue_one_is_the_probe() {
    let circuit = Circuit::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = calls.clone();
    let slow = service_fn(move |_: Req| {
        counted.fetch_add(1, Ordering::Relaxed);
        async {
            sleep(ms(30_000)).await;
            Ok::<_, Infallible>(answer(200))
        }
    });
    let quota = Quota::per_second(100).burst(1);
    let client = checked_outside(&circuit, quota, slow);
    sleep(open(&circuit, None)).await;
    let requests = (0..1_000).map(|_| client.clone().oneshot(Request::new(())));
    let outcomes = join_all(requests).await;
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    assert_eq!(outcomes.iter().filter(|it| it.is_ok()).count(), 1);
    assert_eq!(circuit.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn check_only_lets_go_of_the_ready_instance() {
    let limited = ConcurrencyLimit::new(Primary::new(200), 1);
    let layer = CircuitBreakerLayer::new();
    let circuit = layer.circuit();
    let mut client = layer.check_only().layer(limited.clone());
    client.ready().await.unwrap();
    open(&circuit, None);
    let rejected = client.call(Request::new(()));
    assert!(poll_once(limited.clone().ready()).await.is_some());
    assert!(is_open(&rejected.await.unwrap_err()));
    // And is polled ready before it is called again.
    let mut client = CircuitBreakerLayer::from(circuit.clone())
        .any_response()
        .check_only()
        .layer(probe());
    client.ready().await.unwrap().call(()).await.unwrap_err();
    sleep(circuit.retry_after().unwrap()).await;
    client.ready().await.unwrap().call(()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn over_one_permit_it_neither_deadlocks_nor_leaks() {
    let permits = GlobalConcurrencyLimitLayer::new(1);
    let turn = Arc::new(AtomicUsize::new(0));
    let flaky = service_fn(move |_: Req| {
        let turn = turn.clone();
        async move {
            sleep(ms(20)).await;
            let status = match turn.fetch_add(1, Ordering::Relaxed) % 40 {
                0..10 => 500,
                _ => 200,
            };
            Ok::<_, Infallible>(answer(status))
        }
    });
    let inner = permits.layer(flaky);
    let client = CircuitBreakerLayer::new().layer(inner.clone());
    let requests = (0..500).map(|_| {
        let mut client = client.clone();
        async move { client.ready().await.unwrap().call(Request::new(())).await }
    });
    let all = timeout(Duration::from_secs(3_600), join_all(requests)).await;
    let outcomes = all.expect("a deadlock");
    assert!(outcomes.iter().any(Result::is_err) && outcomes.iter().any(Result::is_ok));
    assert!(poll_once(inner.clone().ready()).await.is_some());
}

#[tokio::test(start_paused = true)]
async fn an_error_of_readiness_is_returned_and_says_nothing() {
    let (inner, mut handle) = tower_test::mock::pair::<Req, Res>();
    handle.send_error("closed");
    let layer = CircuitBreakerLayer::from(Circuit::new().failures(1));
    let mut client = layer.layer(inner);
    assert!(client.ready().await.is_err());
    assert_eq!(layer.circuit().state(), State::Closed);
}

#[test]
fn an_error_tells_when_to_come_back() {
    let circuit = Circuit::new();
    open(&circuit, None);
    let text = circuit.enter().unwrap_err().to_string();
    assert!(
        text.starts_with("circuit breaker is open: retry in "),
        "{text}"
    );
    let text = format!("{circuit:?}");
    assert!(text.contains("Open"), "{text}");
}

#[test]
fn threads_let_one_probe_through_at_a_time() {
    let circuit = Circuit::new()
        .cooldown(Duration::ZERO, Duration::ZERO)
        .failures(1);
    circuit.enter().unwrap().failed(None);
    let probes = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..2_000 {
                    if let Ok(watch) = circuit.enter() {
                        assert_eq!(probes.fetch_add(1, Ordering::SeqCst), 0);
                        std::hint::spin_loop();
                        assert_eq!(probes.fetch_sub(1, Ordering::SeqCst), 1);
                        watch.failed(None);
                    }
                }
            });
        }
    });
}

#[test]
fn the_future_adds_little() {
    type Inner = Ready<Result<Res, Infallible>>;
    let added = size_of::<ResponseFuture<Inner>>() - size_of::<Inner>();
    assert!(added <= 40, "{added}");
}

const fn value<T: std::fmt::Debug + Clone + Send + Sync + Unpin + 'static>() {}
const fn guard<T: std::fmt::Debug + Send + Sync + Unpin + 'static>() {}

/// A change here is a change of the API.
const _: () = {
    value::<Circuit>();
    value::<CircuitOpen>();
    value::<State>();
    value::<CircuitBreakerLayer>();
    value::<CircuitBreakerLayer<ErrorClassifier>>();
    value::<CircuitBreaker<Plain>>();
    value::<HttpClassifier>();
    value::<Outcome>();
    guard::<CallGuard>();
    guard::<ResponseFuture<Ready<Result<Res, Infallible>>>>();
};

/// A service that is everything that a service can be.
#[derive(Debug, Clone)]
struct Plain;
