//! Who waits, for whom, and how long.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::Response;
use http_body_util::Full;
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_throttle::{
    Reason, Rejected, RouterLayer, Tokens,
    provider::{Provider, ProviderLimiter},
    router::{SelectedTarget, Target},
};

use super::{Body, Req, Server, ask, at_a_time, over, plenty, post, rpm, targets};
use crate::support::{ms, poll_once, start};

/// Answers at once.
macro_rules! client {
    () => {
        service_fn(async |_: Req| Ok::<_, Infallible>(Response::new(Full::new(&b"{}"[..]))))
    };
}

fn waiting(limiters: &[&ProviderLimiter]) -> Vec<u64> {
    limiters
        .iter()
        .map(|limiter| limiter.usage().waiting)
        .collect()
}

fn name<B>(response: &Response<B>) -> &str {
    SelectedTarget::of(response).unwrap().target()
}

#[tokio::test(start_paused = true)]
async fn one_that_waits_goes_to_whoever_has_room_first() {
    let (a, b) = (rpm(1), at_a_time(1));
    let mut client = RouterLayer::ranked()
        .target(Target::new("a", a.clone()))
        .target(Target::new("b", b.clone()))
        .layer(client!());
    let begin = Instant::now();
    let first = client
        .ready()
        .await
        .unwrap()
        .call(post("{}"))
        .await
        .unwrap();
    assert_eq!(name(&first), "a");
    let held = b.try_acquire(Tokens::default()).unwrap();
    let second = start(&mut client, post("{}")).await;
    let third = start(&mut client, post("{}")).await;
    assert_eq!(waiting(&[&a, &b]), [2, 2]);
    sleep(ms(5_000)).await;
    drop(held);
    let second = second.end().await.unwrap();
    assert_eq!((name(&second), begin.elapsed().as_secs()), ("b", 5));
    assert_eq!(waiting(&[&a, &b]), [1, 1]);
    // The second holds B, and so the third waits for A, a minute after the first.
    let third = third.end().await.unwrap();
    assert_eq!((name(&third), begin.elapsed().as_secs()), ("a", 60));
    assert_eq!(waiting(&[&a, &b]), [0, 0]);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_the_order_in_which_they_came() {
    let client = RouterLayer::ranked()
        .target(Target::new("a", rpm(1)))
        .target(Target::new("b", rpm(2)))
        .layer(client!());
    let order = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for number in 0..30 {
        let (service, order) = (client.clone(), order.clone());
        tasks.spawn(async move {
            service.oneshot(post("{}")).await.unwrap();
            assert_eq!(order.fetch_add(1, Ordering::Relaxed), number);
        });
        tokio::task::yield_now().await;
    }
    tasks.join_all().await;
}

#[tokio::test(start_paused = true)]
async fn a_large_one_that_waits_for_one_target_holds_up_nobody_elsewhere() {
    let tpm = |tokens| ProviderLimiter::new(Provider::new("t").tpm(tokens));
    let (a, b) = (tpm(100), tpm(10));
    let mut client = RouterLayer::ranked()
        .target(Target::new("a", a.clone()))
        .target(Target::new("b", b.clone()))
        .estimate(|request: &Req| Tokens::new(request.body().len() as u64, 0))
        .layer(client!());
    let body = |tokens| post(&"x".repeat(tokens));
    drop(start(&mut client, body(50)).await.end().await.unwrap());
    let large = start(&mut client, body(100)).await;
    assert_eq!(waiting(&[&a, &b]), [1, 0]);
    for _ in 0..2 {
        let small = start(&mut client, body(5)).await;
        assert!(!small.waits(), "B is free");
        assert_eq!(name(&small.end().await.unwrap()), "b");
    }
    assert_eq!(name(&large.end().await.unwrap()), "a");
}

#[tokio::test(start_paused = true)]
async fn one_that_names_its_target_waits_for_that_alone() {
    let (a, b) = (rpm(1), rpm(1));
    let mut client = RouterLayer::ranked()
        .target(Target::new("a", a.clone()))
        .target(Target::new("b", b.clone()))
        .layer(client!());
    for waits in [false, true] {
        let pinned = start(&mut client, post(r#"{"model":"a"}"#)).await;
        assert_eq!(pinned.waits(), waits);
        assert_eq!(waiting(&[&a, &b]), [u64::from(waits), 0]);
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_while_it_waits_leaves_all_queues_and_has_taken_nothing() {
    let (a, b) = (rpm(1), rpm(1));
    let mut client = RouterLayer::ranked()
        .target(Target::new("a", a.clone()))
        .target(Target::new("b", b.clone()))
        .layer(client!());
    for _ in 0..2 {
        start(&mut client, post("{}")).await.end().await.unwrap();
    }
    let first = start(&mut client, post("{}")).await;
    // From the call on, even if it is never polled.
    let second = client.call(post("{}"));
    let third = start(&mut client, post("{}")).await;
    assert_eq!(waiting(&[&a, &b]), [3, 3]);
    drop(first);
    assert_eq!(waiting(&[&a, &b]), [2, 2]);
    drop(second);
    assert_eq!(waiting(&[&a, &b]), [1, 1]);
    let begin = Instant::now();
    assert_eq!(name(&third.end().await.unwrap()), "a");
    assert!(begin.elapsed() < Duration::from_secs(61));
    assert_eq!(waiting(&[&a, &b]), [0, 0]);
    // B has kept its room.
    assert!(b.try_acquire(Tokens::default()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_that_is_dropped_after_it_was_sent_counts_and_is_no_longer_in_flight() {
    let a = ProviderLimiter::new(Provider::new("t").tpm(100).concurrent(1));
    let mut client = RouterLayer::ranked()
        .target(Target::new("a", a.clone()))
        .estimate(|_: &Req| Tokens::new(7, 0))
        .layer(service_fn(async |_: Req| {
            std::future::pending::<Result<Response<Body>, Infallible>>().await
        }));
    let sent = start(&mut client, post("{}")).await;
    assert_eq!(a.usage().in_flight, 1);
    drop(sent);
    let usage = a.usage();
    assert_eq!(
        (usage.in_flight, usage.limits().next().unwrap().used),
        (0, 7)
    );
}

#[tokio::test(start_paused = true)]
async fn what_would_wait_too_long_everywhere_is_refused_at_once_and_told_the_least() {
    let longer = ProviderLimiter::new(
        Provider::new("t")
            .rpm(1)
            .with_minute(Duration::from_secs(20)),
    );
    let (a, b) = (rpm(1), longer);
    let layer = RouterLayer::ranked()
        .target(Target::new("a", a.clone()))
        .target(Target::new("b", b.clone()));
    let ask = |max_wait| {
        layer
            .clone()
            .max_wait(max_wait)
            .layer(client!())
            .oneshot(post("{}"))
    };
    for _ in 0..2 {
        ask(Duration::ZERO).await.unwrap();
    }
    for max_wait in [Duration::ZERO, ms(1), ms(15_000)] {
        let error = poll_once(Box::pin(ask(max_wait)))
            .await
            .unwrap()
            .unwrap_err();
        let rejected = error.downcast_ref::<Rejected>().unwrap();
        assert_eq!(rejected.reason(), Reason::WaitTooLong { max_wait });
        let wait = rejected.retry_after().unwrap();
        assert!(wait > ms(20_000) && wait < ms(21_000), "{wait:?}");
    }
    assert_eq!(waiting(&[&a, &b]), [0, 0]);
    for longest in [ms(21_000), Duration::MAX] {
        assert_eq!(name(&ask(longest).await.unwrap()), "b");
    }
}

#[tokio::test(start_paused = true)]
async fn one_that_has_waited_too_long_is_refused_then() {
    let a = at_a_time(1);
    let client = RouterLayer::ranked()
        .target(Target::new("a", a.clone()))
        .max_wait(ms(1_000))
        .layer(client!());
    let _held = a.try_acquire(Tokens::default()).unwrap();
    let begin = Instant::now();
    let error = client.oneshot(post("{}")).await.unwrap_err();
    let rejected = error.downcast_ref::<Rejected>().unwrap();
    assert_eq!(
        rejected.reason(),
        Reason::WaitTooLong {
            max_wait: ms(1_000)
        }
    );
    assert_eq!(rejected.retry_after(), None);
    assert!(begin.elapsed() >= ms(1_000) && begin.elapsed() < ms(1_020));
    assert_eq!(a.usage().waiting, 0);
    // Nobody knows how long it would be, and no wait was allowed.
    let client = RouterLayer::ranked()
        .target(Target::new("a", a.clone()))
        .max_wait(Duration::ZERO)
        .layer(client!());
    let begin = Instant::now();
    client.oneshot(post("{}")).await.unwrap_err();
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_closes_its_target_and_not_the_others() {
    let (a, b) = (rpm(1), rpm(1));
    let mut client = RouterLayer::ranked()
        .target(Target::new("a", a.clone()).max_waiting(1))
        .target(Target::new("b", b.clone()).max_waiting(2))
        .layer(client!());
    for _ in 0..2 {
        start(&mut client, post("{}")).await.end().await.unwrap();
    }
    let _first = start(&mut client, post("{}")).await;
    let _second = start(&mut client, post("{}")).await;
    assert_eq!(waiting(&[&a, &b]), [1, 2]);
    let error = start(&mut client, post("{}"))
        .await
        .end()
        .await
        .unwrap_err();
    let reason = error.downcast_ref::<Rejected>().unwrap().reason();
    assert!(matches!(reason, Reason::QueueFull { .. }), "{reason:?}");
}

#[tokio::test(start_paused = true)]
async fn as_many_wait_as_all_targets_can_take_in_time() {
    let servers = [
        Server::new("one", 60, 60_000),
        Server::new("two", 120, 120_000),
        Server::new("three", 180, 180_000),
    ];
    for rounds in [1, 2] {
        let max_wait = Duration::from_secs(62 * rounds);
        let layer = targets(RouterLayer::ranked(), &servers).max_wait(max_wait);
        let service = over!(layer, servers);
        let begin = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..2_000 {
            let service = service.clone();
            tasks.spawn(async move {
                let answer = service.oneshot(ask(100)).await;
                (answer.is_ok(), begin.elapsed())
            });
        }
        let ends = tasks.join_all().await;
        let served = ends.iter().filter(|(is_ok, _)| *is_ok).count() as u64;
        let late = ends
            .iter()
            .filter(|(is_ok, at)| !is_ok && *at > ms(10))
            .count();
        // What has room at once, and then so often what comes back.
        let most = 360 * (rounds + 1);
        assert!(
            served <= most && served * 100 >= most * 95,
            "{served} of {most}"
        );
        assert_eq!(late, 0, "nobody waited in vain");
        sleep(Duration::from_secs(61)).await;
    }
}

/// Is ready, or fails to be, or never is.
#[derive(Debug, Clone, Copy)]
enum Readiness {
    Ready,
    Fails,
    Pends,
}

impl Service<Req> for Readiness {
    type Response = Response<Body>;
    type Error = &'static str;
    type Future = std::future::Ready<Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        match self {
            Self::Ready => Poll::Ready(Ok(())),
            Self::Fails => Poll::Ready(Err("closed")),
            Self::Pends => Poll::Pending,
        }
    }

    fn call(&mut self, _: Req) -> Self::Future {
        assert!(matches!(self, Self::Ready), "called without being ready");
        std::future::ready(Ok(Response::new(Full::new(&b"{}"[..]))))
    }
}

fn two() -> RouterLayer<Req> {
    RouterLayer::ranked()
        .target(Target::new("a", plenty()))
        .target(Target::new("b", plenty()))
}

#[tokio::test(start_paused = true)]
async fn a_service_that_is_not_ready_is_passed_over_and_takes_nothing() {
    for first in [Readiness::Fails, Readiness::Pends] {
        let a = rpm(1);
        let client = RouterLayer::ranked()
            .target(Target::new("a", a.clone()))
            .target(Target::new("b", rpm(1)))
            .services(|name| if name == "a" { first } else { Readiness::Ready });
        let response = client.clone().oneshot(post("{}")).await.unwrap();
        assert_eq!(name(&response), "b");
        // And so it is for one that has to wait.
        let response = timeout(ms(61_000), client.oneshot(post("{}"))).await;
        assert_eq!(name(&response.unwrap().unwrap()), "b");
        assert_eq!(a.usage().limits().next().unwrap().used, 0);
        assert_eq!(waiting(&[&a]), [0]);
    }
}

#[tokio::test(start_paused = true)]
async fn where_no_service_becomes_ready_the_first_error_is_told() {
    let client = two().layer(Readiness::Fails);
    let error = client.oneshot(post("{}")).await.unwrap_err();
    assert_eq!(error.to_string(), "closed");
    let client = two().max_wait(ms(100)).layer(Readiness::Pends);
    let error = client.oneshot(post("{}")).await.unwrap_err();
    assert!(error.is::<Rejected>(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn targets_over_one_limit_of_concurrency_1_neither_deadlock_nor_leak() {
    let answer = service_fn(async |_: Req| {
        sleep(ms(1)).await;
        Ok::<_, Infallible>(Response::new(Full::new(&b"{}"[..])))
    });
    let inner = ConcurrencyLimit::new(answer, 1);
    for (a, b) in [(plenty(), plenty()), (rpm(7), rpm(3))] {
        let layer = RouterLayer::weighted()
            .target(Target::new("a", a))
            .target(Target::new("b", b));
        let service = layer.layer(inner.clone());
        let mut tasks = JoinSet::new();
        for _ in 0..100 {
            tasks.spawn(service.clone().oneshot(post("{}")));
        }
        let all = timeout(Duration::from_secs(3_600), tasks.join_all()).await;
        assert!(all.expect("a deadlock").iter().all(Result::is_ok));
        assert!(poll_once(inner.clone().ready()).await.is_some());
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_that_was_polled_ready_is_held_while_a_request_waits() {
    let inner = ConcurrencyLimit::new(Readiness::Ready, 1);
    let mut other = inner.clone();
    let mut client = RouterLayer::ranked()
        .target(Target::new("a", rpm(1)))
        .target(Target::new("b", rpm(1)))
        .layer(inner);
    for _ in 0..2 {
        start(&mut client, post("{}")).await.end().await.unwrap();
    }
    let waiting = start(&mut client, post("{}")).await;
    assert!(waiting.waits());
    assert!(poll_once(other.ready()).await.is_some());
}

struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_threads_leave_nothing_behind() {
    let limiters = [at_a_time(1), at_a_time(2), at_a_time(3)];
    let in_flight: Arc<[AtomicUsize; 3]> = Arc::default();
    let layer = ["0", "1", "2"].iter().zip(&limiters);
    let layer = layer.fold(RouterLayer::weighted(), |layer, (name, limiter)| {
        layer.target(Target::new(*name, limiter.clone()))
    });
    let client = layer.services(|name| {
        let (number, in_flight) = (name.parse::<usize>().unwrap(), in_flight.clone());
        service_fn(move |_: Req| {
            let in_flight = in_flight.clone();
            async move {
                let before = in_flight[number].fetch_add(1, Ordering::SeqCst);
                let _in_flight = InFlight(&in_flight[number]);
                assert!(before <= number, "{before} in flight");
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                Ok::<_, Infallible>(Response::new(Full::new(&b""[..])))
            }
        })
    });
    let mut tasks = JoinSet::new();
    for number in 0..600 {
        let call = client.clone().oneshot(post("{}"));
        tasks.spawn(async move {
            if number % 7 == 0 {
                // Gives up, wherever it stands; what it holds must come back.
                drop(timeout(Duration::from_micros(number), call).await);
            } else {
                call.await.unwrap();
            }
        });
    }
    let all = timeout(Duration::from_secs(60), tasks.join_all()).await;
    all.expect("a lost wake-up");
    for limiter in limiters {
        let usage = limiter.usage();
        assert_eq!((usage.in_flight, usage.waiting), (0, 0));
    }
}
