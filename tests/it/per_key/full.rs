//! A table that is full, and those who come to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::Request;
use tokio::time::Instant;
use tower::{Layer, ServiceExt};
use tower_throttle::{Quota, Rejected, TokenBucketLayer, key::ClientKey, per_key::PerKeyLimiter};

use super::{API_KEY, from, hello};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_flood_of_newcomers_waits_no_more_than_a_line_may() {
    let layer = TokenBucketLayer::new(Quota::per_second(1))
        .per(API_KEY())
        .max_keys(0)
        .max_wait(2 * SECOND)
        .max_waiting(3);
    let mut all: Vec<_> = (0..10_000_u64)
        .map(|n| Box::pin(layer.layer(hello()).oneshot(from(&n.to_string()))))
        .collect();
    let mut waiting = 0;
    for call in &mut all {
        waiting += usize::from(futures::poll!(call).is_pending());
    }
    assert!(waiting <= 32 * 3, "{waiting} wait");
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_to_a_full_table_is_not_told_never() {
    let layer = TokenBucketLayer::new(Quota::per_second(1))
        .per(API_KEY())
        .max_keys(0)
        .cost(|_: &Request<()>| 5)
        .limits_for(|_| Quota::per_second(10))
        .respond();
    let refused = layer.layer(hello()).oneshot(from("ann")).await.unwrap();
    let rejected: &Rejected = refused.extensions().get().unwrap();
    assert!(!rejected.exceeds_capacity(), "{rejected}");
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_who_waits_finds_the_place_that_comes_free() {
    let limiter = PerKeyLimiter::in_flight(1).max_keys(1);
    let first = limiter.try_acquire("first".into(), 1).unwrap();
    let shared = limiter.try_acquire("ann".into(), 1).unwrap();
    let mut waits = Box::pin(limiter.acquire("ann".into(), 1));
    assert!(futures::poll!(&mut waits).is_pending());
    drop(first);
    assert_eq!(limiter.keys(), 0);
    let start = Instant::now();
    assert!(waits.await.is_ok());
    assert!(start.elapsed() <= SECOND, "{:?}", start.elapsed());
    drop(shared);
}

#[tokio::test(start_paused = true)]
async fn a_known_caller_who_waits_keeps_its_place_in_a_flood() {
    let limiter = PerKeyLimiter::in_flight(1).max_keys(1);
    let ann = ClientKey::from("ann");
    let held = limiter.try_acquire(ann, 1).unwrap();
    let mut waits = Box::pin(limiter.acquire(ann, 1));
    assert!(futures::poll!(&mut waits).is_pending());
    let flood: Vec<_> = (0..1_000_u64)
        .filter_map(|n| limiter.try_acquire(n.into(), 1).ok())
        .collect();
    drop(held);
    let more: Vec<_> = (2_000..3_000_u64)
        .filter_map(|n| limiter.try_acquire(n.into(), 1).ok())
        .collect();
    let start = Instant::now();
    assert!(waits.await.is_ok());
    assert!(start.elapsed() <= SECOND, "{:?}", start.elapsed());
    drop((flood, more));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_cancelled_waiters_leaks_no_place_and_loses_no_wake_up() {
    for max_keys in [0, 3, 1_000] {
        let limiter = PerKeyLimiter::in_flight(2).max_keys(max_keys);
        let inside: Arc<[AtomicUsize; 8]> = Arc::default();
        let tasks = (0..400).map(|task| {
            let (limiter, inside) = (limiter.clone(), inside.clone());
            tokio::spawn(async move {
                for round in 0..20 {
                    let caller = (task + round) % 8;
                    let enter = limiter.acquire((caller as u64).into(), 1);
                    let entered = match (task * 7 + round * 13) % 5 {
                        0 => Ok(enter.await),
                        patience => {
                            tokio::time::timeout(
                                Duration::from_micros(patience as u64 * 300),
                                enter,
                            )
                            .await
                        }
                    };
                    if let Ok(held) = entered {
                        let others = inside[caller].fetch_add(1, Ordering::SeqCst);
                        assert!(max_keys < 8 || others < 2, "{others}");
                        if task % 3 == 0 {
                            tokio::task::yield_now().await;
                        }
                        inside[caller].fetch_sub(1, Ordering::SeqCst);
                        drop(held.unwrap());
                    }
                    if task == 0 {
                        limiter.set_limits(1 + round % 2);
                    }
                    assert!(limiter.keys() <= max_keys);
                }
            })
        });
        let all = futures::future::join_all(tasks);
        for task in tokio::time::timeout(40 * SECOND, all)
            .await
            .expect("a wake-up was lost")
        {
            task.unwrap();
        }
        assert_eq!(limiter.keys(), 0);
        limiter.set_limits(1);
        let all: Vec<_> = (0..8_u64)
            .map(|caller| limiter.try_acquire(caller.into(), 1))
            .collect();
        assert!(max_keys < 8 || all.iter().all(Result::is_ok));
        drop(all);
        assert_eq!(limiter.keys(), 0);
    }
}
