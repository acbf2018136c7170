//! The sliding window as a layer.

use std::time::Duration;

use futures::future::join_all;
use proptest::prelude::*;
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_throttle::{Quota, SlidingWindowLayer, SlidingWindowLimiter};

use crate::support::{ms, poll_once, probe, probe_of};

/// The most that any period holds, at whatever offset.
fn fullest(starts: &[(Instant, u64)], period: Duration) -> u64 {
    let within = |from: Instant| {
        let inside = |(at, _): &&(Instant, u64)| *at >= from && *at < from + period;
        starts.iter().filter(inside).map(|(_, cost)| cost).sum()
    };
    starts.iter().map(|(at, _)| within(*at)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn never_over_the_limit_at_any_offset_whoever_waits_and_whoever_goes_away(
        units in prop_oneof![1..8u64, 5_000..5_004u64],
        requests in prop::collection::vec((0..400u64, 1..6u64, any::<bool>()), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        // Large quotas are counted in the ring; its requests are made as large a share of it.
        let share = if units < 8 { 1 } else { units / 6 };
        let starts: Vec<_> = runtime.block_on(async {
            let limiter = SlidingWindowLimiter::new(Quota::per_second(units));
            let tasks = requests.into_iter().map(|(pause, cost, patient)| {
                let (limiter, cost) = (limiter.clone(), (cost * share).min(units));
                async move {
                    sleep(ms(pause * 10)).await;
                    let patience = if patient { Duration::MAX } else { ms(700) };
                    let limiter = limiter.acquire(cost);
                    let admitted = tokio::time::timeout(patience, limiter).await;
                    admitted.is_ok().then(|| (Instant::now(), cost))
                }
            });
            join_all(tasks).await.into_iter().flatten().collect()
        });
        prop_assert!(fullest(&starts, ms(1_000)) <= units);
    }
}

#[tokio::test(start_paused = true)]
async fn the_whole_limit_starts_at_once_and_again_a_period_later() {
    let layer = SlidingWindowLayer::new(Quota::new(300, ms(6_000)));
    let service = layer.layer(probe());
    let start = Instant::now();
    let answers = (0..1_000).map(|_| service.clone().oneshot(()));
    let mut at: Vec<_> = join_all(answers)
        .await
        .into_iter()
        .map(|at| at.unwrap() - start)
        .collect();
    at.sort();
    let started = |window: usize| &at[window * 300..((window + 1) * 300).min(1_000)];
    for window in 0..4 {
        let opens = ms(6_000 * window as u64);
        // A queue moves on by its timer, which ticks once a millisecond.
        assert!(
            started(window)
                .iter()
                .all(|&at| (opens..=opens + ms(2)).contains(&at))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_margin_makes_the_period_longer() {
    let quota = Quota::per_second(1).margin(ms(50));
    let limiter = SlidingWindowLimiter::new(quota);
    assert!(limiter.try_acquire(1).is_ok());
    let rejected = limiter.try_acquire(1).unwrap_err();
    assert_eq!(rejected.retry_after(), Some(ms(1_050)));
}

#[tokio::test(start_paused = true)]
async fn a_window_faster_than_the_timer_ticks_is_not_lost() {
    // 100 in each 10 ms; the queue is woken once a millisecond.
    let limiter = SlidingWindowLimiter::new(Quota::new(100, ms(10)));
    let start = Instant::now();
    join_all((0..10_000).map(|_| limiter.acquire(1))).await;
    assert!(start.elapsed() >= ms(990), "{:?}", start.elapsed());
    assert!(start.elapsed() <= ms(1_100), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_waiter_leaves_no_hole() {
    let limiter = SlidingWindowLimiter::new(Quota::per_second(1));
    assert!(limiter.try_acquire(1).is_ok());
    let mut first = Box::pin(limiter.acquire(1));
    let mut second = Box::pin(limiter.acquire(1));
    assert!(poll_once(&mut first).await.is_none());
    assert!(poll_once(&mut second).await.is_none());
    advance(ms(900)).await;
    drop(first);
    let start = Instant::now();
    second.await.unwrap();
    assert_eq!(start.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn a_large_cost_that_would_outwait_max_wait_is_refused_on_time() {
    // The estimate for several large ones is a lower bound; the head of the queue checks again.
    let limiter = SlidingWindowLimiter::new(Quota::per_second(10));
    assert!(limiter.try_acquire(6).is_ok());
    let start = Instant::now();
    let results = join_all((0..4).map(|_| limiter.acquire_within(6, ms(2_500)))).await;
    let admitted = results.iter().filter(|result| result.is_ok()).count();
    assert_eq!(admitted, 2);
    assert!(start.elapsed() <= ms(2_510), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn costs_are_taken_whole_or_not_at_all() {
    let layer = SlidingWindowLayer::new(Quota::per_second(10)).cost(|cost: &u64| *cost);
    let mut service = layer.max_wait(Duration::ZERO).layer(probe_of());
    service.ready().await.unwrap().call(7).await.unwrap();
    service.ready().await.unwrap().call(4).await.unwrap_err();
    service.ready().await.unwrap().call(3).await.unwrap();
    service.ready().await.unwrap().call(11).await.unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_quota_reaches_the_queue() {
    for (before, after) in [(4, 7), (5_000, 9_000)] {
        let limiter = SlidingWindowLimiter::new(Quota::per_hour(before));
        limiter.try_acquire(before).unwrap();
        let mut first = Box::pin(limiter.acquire(after - before));
        let mut second = Box::pin(limiter.acquire(before));
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());
        let start = Instant::now();
        limiter.set_quota(Quota::per_hour(after));
        let taken = first.await.unwrap();
        taken.refund();
        assert!(poll_once(&mut second).await.is_none());
        limiter.set_quota(Quota::per_hour(before - 1));
        assert!(second.await.unwrap_err().exceeds_capacity());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}
