//! Who waits while a target is left alone, and who does not.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, Circuit, RouterLayer, Tokens,
    provider::{Provider, ProviderLimiter},
    router::{SelectedTarget, Target},
};

use super::{Body, Req, at_a_time, plenty, post, rpm};
use crate::support::{ms, poll_once, start};

fn answer(status: u16) -> Response<Body> {
    Response::builder()
        .status(status)
        .body(Body::default())
        .unwrap()
}

/// Answers with this status after a tenth of a second.
macro_rules! answers {
    ($status:expr) => {{
        let status = $status;
        service_fn(move |_: Req| async move {
            sleep(ms(100)).await;
            Ok::<_, BoxError>(answer(status))
        })
    }};
}

/// One that is left alone for long.
fn slow_circuit() -> Circuit {
    Circuit::new().cooldown(Duration::from_secs(60), Duration::from_secs(60))
}

fn open(circuit: &Circuit) {
    while let Ok(watch) = circuit.enter() {
        watch.failed(None);
    }
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_not_kept_for_the_only_target_that_has_come_to_fail() {
    let client = RouterLayer::ranked()
        .target(Target::new("a", at_a_time(1)))
        .layer(answers!(500));
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..40 {
        tasks.spawn(client.clone().oneshot(post("{}")));
    }
    let answers = tasks.join_all().await;
    assert!(answers.iter().all(|answer| answer.is_ok()));
    // One after the other, and none of them for the sake of the cooldown.
    assert!(begin.elapsed() < ms(4_100), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_elsewhere_keeps_nobody_from_one_that_is_left_alone() {
    let (a, circuit) = (plenty(), slow_circuit());
    let mut client = RouterLayer::ranked()
        .target(Target::new("a", a.clone()).circuit(circuit.clone()))
        .target(Target::new("b", rpm(1)))
        .services(|name| answers!(if name == "a" { 500 } else { 200 }));
    open(&circuit);
    start(&mut client, post("{}")).await.end().await.unwrap();
    let waits = start(&mut client, post("{}")).await;
    assert!(waits.waits());
    // Who has to do with A alone, and who uses its limiter for something else
    let pinned = client.clone().oneshot(post(r#"{"model":"a"}"#));
    let pinned = timeout(ms(200), pinned).await.expect("is asked at once");
    assert_eq!(pinned.unwrap().status(), 500);
    let other = poll_once(Box::pin(a.acquire(Tokens::default()))).await;
    assert!(other.is_some(), "there is room");
    drop(waits);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_left_alone_does_not_stop_the_others_of_its_limiter() {
    let shared = at_a_time(1);
    let client = RouterLayer::ranked()
        .target(Target::new("a", shared.clone()).circuit(slow_circuit()))
        .target(Target::new("b", shared.clone()))
        .services(|name| answers!(if name == "a" { 500 } else { 200 }));
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for _ in 0..20 {
        tasks.spawn(client.clone().oneshot(post("{}")));
    }
    for answer in tasks.join_all().await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert!(begin.elapsed() < ms(4_000), "{:?}", begin.elapsed());
    assert_eq!(shared.usage().waiting, 0);
}

/// Is not ready at first, and finds out why: its target fails.
#[derive(Debug, Clone)]
struct FailsFirst {
    circuit: Circuit,
    polls: Arc<AtomicU32>,
}

impl Service<Req> for FailsFirst {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = std::future::Ready<Result<Response<Body>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if self.polls.fetch_add(1, Ordering::Relaxed) > 0 {
            return Poll::Ready(Ok(()));
        }
        open(&self.circuit);
        Poll::Pending
    }

    fn call(&mut self, _: Req) -> Self::Future {
        std::future::ready(Ok(answer(200)))
    }
}

#[tokio::test(start_paused = true)]
async fn a_circuit_that_opens_while_a_target_is_chosen_leaves_a_target() {
    let circuit = slow_circuit();
    let service = FailsFirst {
        circuit: circuit.clone(),
        polls: Arc::default(),
    };
    let client = RouterLayer::ranked()
        .target(Target::new("a", plenty()).circuit(circuit))
        .layer(service);
    let answer = client.oneshot(post("{}")).await.unwrap();
    assert_eq!(SelectedTarget::of(&answer).unwrap().target(), "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_end_whatever_opens_and_closes_meanwhile() {
    let (shared, own) = (at_a_time(2), at_a_time(1));
    let short = || Circuit::new().failures(1).cooldown(ms(2), ms(4));
    let target = |name: &'static str, limiter: &ProviderLimiter| {
        Target::new(name, limiter.clone()).circuit(short())
    };
    let layer = RouterLayer::weighted()
        .target(target("a", &shared))
        .target(target("b", &shared))
        .target(target("c", &own));
    let calls = Arc::new(AtomicU32::new(0));
    let client = layer.services(|_| {
        let calls = calls.clone();
        service_fn(move |_: Req| {
            let call = calls.fetch_add(1, Ordering::Relaxed);
            async move {
                sleep(Duration::from_micros(200)).await;
                Ok::<_, Infallible>(answer(if call % 3 == 0 { 200 } else { 500 }))
            }
        })
    });
    let mut tasks = JoinSet::new();
    for number in 0..2_000 {
        let model = ["a", "b", "c", "auto"][number % 4];
        let request = post(&format!(r#"{{"model":"{model}"}}"#));
        let client = client.clone();
        tasks.spawn(async move {
            let answer = client.oneshot(request);
            if number % 7 == 0 {
                drop(timeout(ms(number as u64 % 50), answer).await);
            } else {
                answer.await.unwrap();
            }
        });
    }
    let all = timeout(Duration::from_secs(120), tasks.join_all()).await;
    all.expect("somebody was forgotten");
    for limiter in [shared, own] {
        assert_eq!((limiter.usage().waiting, limiter.usage().in_flight), (0, 0));
        assert!(limiter.try_acquire(Tokens::default()).is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn one_too_large_for_the_others_is_not_refused() {
    let circuit = slow_circuit();
    let small = ProviderLimiter::new(Provider::new("small").tpm(10));
    let client = RouterLayer::ranked()
        .target(Target::new("a", plenty()).circuit(circuit.clone()))
        .target(Target::new("b", small))
        .estimate(|_: &Req| Tokens::new(100, 0))
        .layer(answers!(200));
    open(&circuit);
    // As where A is the only target that there is.
    let answer = timeout(ms(1_000), client.oneshot(post("{}"))).await;
    let answer = answer.expect("is asked at once").unwrap();
    assert_eq!(SelectedTarget::of(&answer).unwrap().target(), "a");
}
