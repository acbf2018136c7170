//! The limit on what is in flight.

use std::{
    convert::Infallible,
    fmt::Debug,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use futures::future::join_all;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody, combinators::BoxBody};
use tokio::time::{Instant, sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_throttle::{
    ConcurrencyLayer, ConcurrencyLimiter, LimitKind, Reason, Rejected, concurrency::Priority,
};

use crate::support::{call, ms, poll_once, probe};

fn frames(count: usize) -> impl Body<Data = &'static [u8], Error = Infallible> + Debug + Unpin {
    let frames = (0..count).map(|_| Ok(Frame::data(&b"data"[..])));
    StreamBody::new(futures::stream::iter(frames.collect::<Vec<_>>()))
}

#[tokio::test(start_paused = true)]
async fn never_more_than_the_limit_are_in_flight() {
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let service = service_fn(|(): ()| {
        let (now, most) = (now.clone(), most.clone());
        async move {
            most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
            sleep(ms(10)).await;
            now.fetch_sub(1, Ordering::Relaxed);
            Ok::<_, Infallible>(())
        }
    });
    let start = Instant::now();
    let limited = ConcurrencyLayer::new(7).until_response().layer(service);
    let answers = join_all((0..70).map(|_| limited.clone().oneshot(()))).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(most.load(Ordering::Relaxed), 7);
    assert_eq!(start.elapsed(), ms(100));
    assert_eq!(limited.limiter().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_are_served_first_in_first_out() {
    let limiter = ConcurrencyLimiter::new(1);
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let held = limiter.try_acquire().unwrap();
    let tasks: Vec<_> = (0..1_000)
        .map(|number| {
            let (limiter, order) = (limiter.clone(), order.clone());
            tokio::spawn(async move {
                let _permit = limiter.acquire().await.unwrap();
                order.lock().unwrap().push(number);
            })
        })
        .collect();
    tokio::task::yield_now().await;
    drop(held);
    join_all(tasks).await;
    let served = order.lock().unwrap().clone();
    assert_eq!(served, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_streamed_body_keeps_its_permit_to_the_last_frame() {
    let service = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(frames(2))));
    let mut limited = ConcurrencyLayer::new(1).layer(service);
    let limiter = limited.limiter();
    let response = call(&mut limited, Request::new(())).await.unwrap();
    assert_eq!(limiter.in_flight(), 1);
    let mut body = response.into_body();
    for _ in 0..2 {
        assert!(body.frame().await.is_some());
        assert_eq!(limiter.in_flight(), 1);
    }
    assert!(body.frame().await.is_none());
    assert_eq!(limiter.in_flight(), 0);
    drop(body);
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test]
async fn a_body_that_knows_its_end_gives_its_permit_back_with_the_last_frame() {
    let answer = || Response::new(Full::new(&b"whole"[..]));
    let service = service_fn(async |_: Request<()>| Ok::<_, Infallible>(answer()));
    let mut limited = ConcurrencyLayer::new(1).layer(service);
    let response = call(&mut limited, Request::new(())).await.unwrap();
    let mut body = response.into_body();
    assert!(body.is_held());
    assert!(body.frame().await.is_some());
    assert!(!body.is_held());
    assert_eq!(limited.limiter().in_flight(), 0);
}

#[tokio::test]
async fn a_body_dropped_half_read_gives_its_permit_back() {
    let service = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(frames(9))));
    let mut limited = ConcurrencyLayer::new(1).layer(service);
    let response = call(&mut limited, Request::new(())).await.unwrap();
    let mut body = response.into_body();
    assert!(body.frame().await.is_some());
    assert_eq!(limited.limiter().in_flight(), 1);
    drop(body);
    assert_eq!(limited.limiter().in_flight(), 0);
}

#[tokio::test]
async fn an_empty_body_holds_nothing() {
    let answer = || Response::new(Empty::<&[u8]>::new());
    let service = service_fn(async |_: Request<()>| Ok::<_, Infallible>(answer()));
    let mut limited = ConcurrencyLayer::new(1).layer(service);
    let response = call(&mut limited, Request::new(())).await.unwrap();
    assert_eq!(limited.limiter().in_flight(), 0);
    drop(response);
}

#[tokio::test]
async fn a_body_that_fails_gives_its_permit_back() {
    struct Failing;
    impl Body for Failing {
        type Data = &'static [u8];
        type Error = &'static str;
        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
            Poll::Ready(Some(Err("cut")))
        }
    }
    let service = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(Failing)));
    let mut limited = ConcurrencyLayer::new(1).layer(service);
    let response = call(&mut limited, Request::new(())).await.unwrap();
    let mut body = response.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap_err(), "cut");
    assert_eq!(limited.limiter().in_flight(), 0);
}

#[tokio::test]
async fn trailers_and_size_pass_through() {
    let mut trailers = http::HeaderMap::new();
    trailers.insert("checksum", http::HeaderValue::from_static("7"));
    let with = trailers.clone();
    let service = service_fn(move |_: Request<()>| {
        let body =
            Full::new(&b"whole"[..]).with_trailers(std::future::ready(Some(Ok(with.clone()))));
        std::future::ready(Ok::<_, Infallible>(Response::new(BoxBody::new(body))))
    });
    let mut limited = ConcurrencyLayer::new(1).layer(service);
    let response = call(&mut limited, Request::new(())).await.unwrap();
    let body = response.into_body().collect().await.unwrap();
    assert_eq!(body.trailers(), Some(&trailers));
    assert_eq!(body.to_bytes(), "whole");
}

#[tokio::test(start_paused = true)]
async fn a_failed_or_dropped_call_gives_its_permit_back() {
    let service = service_fn(async |fail: bool| {
        if fail {
            return Err("failed");
        }
        std::future::pending::<Result<(), &str>>().await
    });
    let mut limited = ConcurrencyLayer::new(1).until_response().layer(service);
    limited.ready().await.unwrap().call(true).await.unwrap_err();
    assert_eq!(limited.limiter().in_flight(), 0);
    let mut call = Box::pin(limited.ready().await.unwrap().call(false));
    assert!(poll_once(&mut call).await.is_none());
    assert_eq!(limited.limiter().in_flight(), 1);
    drop(call);
    assert_eq!(limited.limiter().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_waiter_loses_and_creates_no_permit_wherever_it_stands() {
    for dropped in 0..3 {
        for freed_first in [false, true] {
            let limiter = ConcurrencyLimiter::new(1);
            let held = limiter.try_acquire().unwrap();
            let mut queue: Vec<_> = (0..3).map(|_| Box::pin(limiter.acquire())).collect();
            for waiter in &mut queue {
                assert!(poll_once(waiter).await.is_none());
            }
            // Freed first, the permit belongs to the head already when the head goes away.
            let mut held = Some(held);
            if freed_first {
                held = None;
            }
            drop(queue.remove(dropped));
            drop(held);
            for waiter in queue {
                drop(waiter.await.unwrap());
            }
            assert_eq!((limiter.waiting(), limiter.in_flight()), (0, 0));
            assert!(limiter.try_acquire().is_ok());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn who_waited_for_max_wait_is_refused_then_and_there() {
    let limiter = ConcurrencyLimiter::new(1);
    let _held = limiter.try_acquire().unwrap();
    let start = Instant::now();
    let waiter = |after| {
        let limiter = limiter.clone();
        async move {
            sleep(ms(after)).await;
            let error = limiter.acquire_within(ms(100)).await.unwrap_err();
            (start.elapsed(), error)
        }
    };
    for (after, (at, error)) in [0, 30, 60]
        .into_iter()
        .zip(join_all([0, 30, 60].map(waiter)).await)
    {
        assert_eq!(at, ms(after + 100));
        assert_eq!(error.limit(), LimitKind::Concurrency);
        assert_eq!(error.reason(), Reason::WaitTooLong { max_wait: ms(100) });
    }
}

#[tokio::test(start_paused = true)]
async fn one_more_than_max_waiting_is_refused_at_once() {
    let layer = ConcurrencyLayer::new(1).until_response().max_waiting(1);
    let service = layer.layer(probe());
    let _held = layer.limiter().try_acquire().unwrap();
    let mut waiter = Box::pin(service.clone().oneshot(()));
    assert!(poll_once(&mut waiter).await.is_none());
    let error = service.oneshot(()).await.unwrap_err();
    let rejected: &Rejected = error.downcast_ref().unwrap();
    assert_eq!(rejected.reason(), Reason::QueueFull { max_waiting: 1 });
}

#[tokio::test(start_paused = true)]
async fn the_limit_can_be_raised_while_some_wait() {
    let limiter = ConcurrencyLimiter::new(1);
    let _held = limiter.try_acquire().unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.acquire().await })
        })
        .collect();
    tokio::task::yield_now().await;
    limiter.set_limit(4);
    let permits: Vec<_> = join_all(waiters).await;
    assert!(permits.iter().all(|permit| matches!(permit, Ok(Ok(_)))));
    assert_eq!(limiter.in_flight(), 4);
    assert!(limiter.try_acquire().is_err());
}

#[tokio::test(start_paused = true)]
async fn a_lowered_limit_holds_once_enough_have_ended() {
    let limiter = ConcurrencyLimiter::new(10);
    let mut held: Vec<_> = (0..8).map(|_| limiter.try_acquire().unwrap()).collect();
    limiter.set_limit(3);
    assert_eq!((limiter.limit(), limiter.in_flight()), (3, 8));
    while held.len() > 3 {
        held.pop();
        assert_eq!(limiter.in_flight(), held.len());
        assert!(limiter.try_acquire().is_err());
    }
    held.pop();
    held.push(limiter.try_acquire().unwrap());
    assert!(limiter.try_acquire().is_err());
    // Up again while some of it is still owed.
    limiter.set_limit(1);
    limiter.set_limit(2);
    held.pop();
    assert!(limiter.try_acquire().is_err());
    held.pop();
    assert!(limiter.try_acquire().is_ok());
    drop(held);
    assert_eq!(limiter.in_flight(), 0);
}

#[tokio::test]
async fn the_limit_changes_under_load_without_losing_or_making_slots() {
    let limiter = ConcurrencyLimiter::new(5);
    let workers: Vec<_> = (0..20)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                for _ in 0..200 {
                    let permit = limiter.acquire().await.unwrap();
                    tokio::task::yield_now().await;
                    drop(permit);
                }
            })
        })
        .collect();
    for limit in (1..=9).cycle().take(500) {
        limiter.set_limit(limit);
        tokio::task::yield_now().await;
    }
    join_all(workers).await;
    limiter.set_limit(6);
    assert_eq!(limiter.in_flight(), 0);
    let held: Vec<_> = std::iter::from_fn(|| limiter.try_acquire().ok()).collect();
    assert_eq!(held.len(), 6);
}

/// A lost wake-up shows at the end of a round, when no later release makes up for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_lose_no_wake_up() {
    const PRIORITIES: [Priority; 4] = [
        Priority::High,
        Priority::Normal,
        Priority::Low,
        Priority::Critical,
    ];
    for round in 0..1_000 {
        let limiter = ConcurrencyLimiter::new(1);
        let tasks = (0..8_usize).map(|number| {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                let mix = round * 8 + number;
                match mix % 5 {
                    0 => limiter.set_limit(1 + mix % 3),
                    // Dropped after the first poll, or after it may have been woken.
                    1 => drop(poll_once(limiter.acquire()).await),
                    2 => {
                        let mut acquire = Box::pin(limiter.acquire());
                        if poll_once(&mut acquire).await.is_none() {
                            tokio::task::yield_now().await;
                        }
                    }
                    _ => {
                        let permit = limiter.acquire_as(PRIORITIES[mix / 5 % 4]).await;
                        tokio::task::yield_now().await;
                        drop(permit.unwrap());
                    }
                }
            })
        });
        let ends = timeout(ms(30_000), join_all(tasks)).await;
        assert!(ends.expect("a lost wake-up").iter().all(Result::is_ok));
        assert_eq!((limiter.waiting(), limiter.in_flight()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_refuses_and_never_hangs() {
    let limiter = ConcurrencyLimiter::new(0);
    let capacity = 0;
    assert_eq!(
        limiter.acquire().await.unwrap_err().reason(),
        Reason::ExceedsCapacity { cost: 1, capacity }
    );
    limiter.set_limit(1);
    assert!(limiter.acquire().await.is_ok());
}

#[tokio::test]
async fn a_huge_limit_saturates() {
    let limiter = ConcurrencyLimiter::new(usize::MAX);
    assert!(limiter.limit() >= usize::MAX >> 3);
    limiter.set_limit(usize::MAX);
    assert!(limiter.try_acquire().is_ok());
}

#[tokio::test(start_paused = true)]
async fn one_limit_is_shared_by_clones_and_by_layer_calls() {
    let layer = ConcurrencyLayer::new(2).max_wait(Duration::ZERO);
    let service =
        || service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(frames(1))));
    let mut first = layer.layer(service());
    let mut clone = first.clone();
    let mut second = layer.layer(service());
    let one = call(&mut first, Request::new(())).await.unwrap();
    let two = call(&mut clone, Request::new(())).await.unwrap();
    let error = call(&mut second, Request::new(())).await.unwrap_err();
    assert!(error.is::<Rejected>());
    drop((one, two));
    call(&mut second, Request::new(())).await.unwrap();
}

#[test]
fn the_largest_limit_can_be_lowered_and_raised() {
    let limiter = ConcurrencyLimiter::new(usize::MAX);
    let largest = limiter.limit();
    let held = limiter.try_acquire().unwrap();
    limiter.set_limit(2);
    assert_eq!((limiter.limit(), limiter.in_flight()), (2, 1));
    let second = limiter.try_acquire().unwrap();
    assert!(limiter.try_acquire().is_err());
    limiter.set_limit(1);
    limiter.set_limit(usize::MAX);
    assert_eq!((limiter.limit(), limiter.in_flight()), (largest, 2));
    limiter.set_limit(0);
    drop((held, second));
    assert_eq!((limiter.limit(), limiter.in_flight()), (0, 0));
    assert!(limiter.try_acquire().is_err());
}
