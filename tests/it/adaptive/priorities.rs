//! Who goes first, and who is refused first.

use std::{convert::Infallible, time::Duration};

use futures::future::join_all;
use tokio::{task::JoinHandle, time::sleep};
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{
    ConcurrencyLayer, ConcurrencyLimiter,
    concurrency::{Adaptive, Permit, Priority},
};

use crate::support::{Started, ms, poll_once, probe, start};

const ALL: [Priority; 3] = [Priority::Low, Priority::Normal, Priority::High];

fn fill(limiter: &ConcurrencyLimiter, priority: Priority) -> Vec<Permit> {
    std::iter::from_fn(|| limiter.try_acquire_as(priority).ok()).collect()
}

fn waits(limiter: &ConcurrencyLimiter, priority: Priority) -> JoinHandle<Permit> {
    let limiter = limiter.clone();
    tokio::spawn(async move { limiter.acquire_as(priority).await.unwrap() })
}

async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[test]
fn each_priority_has_its_share() {
    for (limit, shares) in [
        (1, [1, 1, 1]),
        (3, [3, 3, 3]),
        (4, [3, 4, 4]),
        (10, [8, 9, 10]),
        (100, [75, 90, 100]),
    ] {
        let limiter = ConcurrencyLimiter::new(limit);
        let mut held = Vec::new();
        for (priority, share) in ALL.into_iter().zip(shares) {
            held.extend(fill(&limiter, priority));
            assert_eq!(held.len(), share, "{priority:?} of {limit}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn health_checks_are_never_shed_and_never_wait() {
    for limiter in [
        ConcurrencyLimiter::new(2),
        ConcurrencyLimiter::adaptive(Adaptive::gradient().initial(2).max(2)),
    ] {
        let mut held = fill(&limiter, Priority::High);
        assert_eq!(held.len(), 2);
        let checks: Vec<_> = (0..5)
            .map(|_| limiter.try_acquire_as(Priority::Critical).unwrap())
            .collect();
        assert_eq!((limiter.in_flight(), limiter.limit()), (7, 2));
        // They count: others start only once fewer than the limit are in flight.
        held.clear();
        assert_eq!(limiter.in_flight(), 5);
        assert!(limiter.try_acquire().is_err());
        let mut checks = checks.into_iter();
        for left in [4, 3, 2] {
            drop(checks.next());
            assert_eq!(limiter.in_flight(), left);
            assert!(limiter.try_acquire().is_err());
        }
        drop(checks.next());
        drop(limiter.try_acquire().unwrap());
        drop(checks);
        assert_eq!(limiter.in_flight(), 0);
        assert_eq!(fill(&limiter, Priority::High).len(), 2);
    }
    let closed = ConcurrencyLimiter::new(0);
    let check = closed.acquire_as(Priority::Critical).await.unwrap();
    assert_eq!(closed.in_flight(), 1);
    assert!(closed.try_acquire_as(Priority::Low).is_err());
    drop(check);
    assert_eq!(closed.in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_limit_changes_under_health_checks_without_losing_or_making_slots() {
    let limiter = ConcurrencyLimiter::new(3);
    for limit in [1, 5, 2, 0, 7, 3] {
        let held = fill(&limiter, Priority::High);
        let checks: Vec<_> = (0..4)
            .map(|_| limiter.try_acquire_as(Priority::Critical).unwrap())
            .collect();
        limiter.set_limit(limit);
        drop(held);
        drop(checks);
        assert_eq!(limiter.in_flight(), 0);
        let held = fill(&limiter, Priority::High);
        assert_eq!(held.len(), limit);
    }
}

#[tokio::test(start_paused = true)]
async fn under_overload_low_is_shed_before_normal_and_normal_before_high() {
    let service = service_fn(async |_: Priority| {
        sleep(ms(100)).await;
        Ok::<_, Infallible>(())
    });
    let mut limited = ConcurrencyLayer::new(100)
        .until_response()
        .priority(|priority: &Priority| *priority)
        .max_wait(Duration::ZERO)
        .layer(service);
    let mut refused = Vec::new();
    let mut running = Vec::new();
    for round in 0..60 {
        for priority in ALL {
            match start(&mut limited, priority).await {
                Started::Done(answer) => {
                    assert!(answer.is_err());
                    refused.push((round, priority));
                }
                waits => running.push(waits),
            }
        }
    }
    let first = |priority| {
        refused
            .iter()
            .find(|refused| refused.1 == priority)
            .unwrap()
            .0
    };
    assert!(first(Priority::Low) < first(Priority::Normal));
    assert!(first(Priority::Normal) < first(Priority::High));
    assert_eq!(running.len(), 100);
    let check = start(&mut limited, Priority::Critical).await;
    assert!(check.waits(), "called, and not refused");
    assert!(check.end().await.is_ok());
    let answers = join_all(running.into_iter().map(Started::end)).await;
    assert!(answers.iter().all(Result::is_ok));
    assert_eq!(limited.limiter().in_flight(), 0);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_start_by_priority_and_then_in_the_order_in_which_they_came() {
    let limiter = ConcurrencyLimiter::new(1);
    let held = limiter.try_acquire().unwrap();
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for number in 0..2 {
        for priority in ALL {
            let (limiter, order) = (limiter.clone(), order.clone());
            tasks.push(tokio::spawn(async move {
                let _permit = limiter.acquire_as(priority).await.unwrap();
                order.lock().unwrap().push((priority, number));
                sleep(ms(10)).await;
            }));
        }
    }
    settle().await;
    assert_eq!(limiter.waiting(), 6);
    drop(held);
    join_all(tasks).await;
    let by_priority = ALL.into_iter().rev();
    let expected: Vec<_> = by_priority.flat_map(|one| [(one, 0), (one, 1)]).collect();
    assert_eq!(*order.lock().unwrap(), expected);
    assert_eq!((limiter.waiting(), limiter.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn one_with_a_low_priority_starts_once_its_share_has_room() {
    let limiter = ConcurrencyLimiter::new(8);
    let mut held = fill(&limiter, Priority::High);
    let low = waits(&limiter, Priority::Low);
    for _ in 0..2 {
        held.pop();
        settle().await;
        assert!(!low.is_finished());
    }
    held.pop();
    let permit = low.await.unwrap();
    assert_eq!(limiter.in_flight(), 6);
    drop(permit);
}

#[tokio::test(start_paused = true)]
async fn one_with_a_low_priority_starts_when_the_limit_is_raised() {
    let limiter = ConcurrencyLimiter::new(1);
    let _held = limiter.try_acquire().unwrap();
    let low = waits(&limiter, Priority::Low);
    settle().await;
    limiter.set_limit(8);
    drop(low.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn one_with_a_low_priority_starts_when_those_before_it_go_away() {
    let limiter = ConcurrencyLimiter::new(1);
    let held = limiter.try_acquire().unwrap();
    let [low, normal, high] = ALL.map(|priority| waits(&limiter, priority));
    settle().await;
    // The slot is given to the one that waits for it, which goes away before it looks.
    drop(held);
    high.abort();
    normal.abort();
    assert!(high.await.is_err() && normal.await.is_err());
    drop(low.await.unwrap());
    assert_eq!((limiter.waiting(), limiter.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_of_low_priority_keeps_nobody_else_from_waiting() {
    let limiter = ConcurrencyLimiter::new(1);
    let wait = |priority| {
        let layer = ConcurrencyLayer::from(limiter.clone()).until_response();
        let layer = layer.priority(move |(): &()| priority);
        let layer = layer.max_waiting(1).max_wait(ms(100));
        layer.layer(probe()).oneshot(())
    };
    let held = limiter.try_acquire().unwrap();
    let mut places = ALL.map(|priority| Box::pin(wait(priority)));
    for place in &mut places {
        assert!(poll_once(place.as_mut()).await.is_none());
    }
    for priority in ALL {
        let error = wait(priority).await.unwrap_err();
        let rejected = error.downcast_ref::<tower_throttle::Rejected>().unwrap();
        assert!(matches!(
            rejected.reason(),
            tower_throttle::Reason::QueueFull { max_waiting: 1 }
        ));
    }
    for place in places {
        assert!(place.await.is_err(), "waits no longer than it may");
    }
    drop(held);
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn threads_of_all_priorities_lose_no_wake_up() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let limiter = ConcurrencyLimiter::new(2);
        let priorities = [ALL[0], ALL[1], ALL[2], Priority::Critical];
        let tasks: Vec<_> = (0..32)
            .map(|number| {
                let limiter = limiter.clone();
                tokio::spawn(async move {
                    for round in 0..500 {
                        let priority = priorities[(number + round) % 4];
                        let permit = limiter.acquire_as(priority).await.unwrap();
                        if round % 3 == 0 {
                            tokio::task::yield_now().await;
                        }
                        drop(permit);
                    }
                })
            })
            .collect();
        let all = join_all(tasks);
        tokio::time::timeout(Duration::from_secs(60), all)
            .await
            .expect("nobody waits for ever");
        assert_eq!((limiter.waiting(), limiter.in_flight()), (0, 0));
    });
}
