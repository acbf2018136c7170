//! The token bucket, and what it shares with the other limiters: the queue and its bounds.

use std::{
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use futures::{StreamExt, future::join_all, stream::FuturesUnordered};
use tokio::time::{Instant, advance};
use tower::{Layer, Service, ServiceExt};
use tower_throttle::{
    BoxError, Clock, LimitKind, Quota, Reason, Rejected, TokenBucketLayer, TokenBucketLimiter, cost,
};

use crate::support::{ms, poll_once, probe, probe_of, start};

fn rejected(error: &BoxError) -> &Rejected {
    error.downcast_ref().expect("a Rejected")
}

#[tokio::test(start_paused = true)]
async fn a_thousand_waiters_are_served_first_in_first_out() {
    let limiter = TokenBucketLimiter::new(Quota::per_second(1_000).burst(1));
    let order = Arc::new(Mutex::new(Vec::new()));
    let tasks: Vec<_> = (0..1_000)
        .map(|number| {
            let (limiter, order) = (limiter.clone(), order.clone());
            tokio::spawn(async move {
                limiter.acquire(1).await.unwrap();
                order.lock().unwrap().push(number);
            })
        })
        .collect();
    join_all(tasks).await;
    let served = order.lock().unwrap().clone();
    assert_eq!(served, (0..1_000).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_those_who_wait() {
    let limiter = TokenBucketLimiter::new(Quota::per_second(10).burst(10));
    assert!(limiter.try_acquire(8).is_ok());
    let mut large = Box::pin(limiter.acquire(5));
    assert!(poll_once(&mut large).await.is_none());
    // Two units are there, and a fifth is not: the small one waits behind the large one.
    let rejected = limiter.try_acquire(1).unwrap_err();
    assert_eq!(rejected.retry_after(), Some(ms(400)));
    large.await.unwrap();
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn two_thousand_a_second_with_burst_one_keep_at_least_99_percent_of_the_rate() {
    let limiter = TokenBucketLimiter::new(Quota::per_second(2_000).burst(1));
    let start = Instant::now();
    let mut queue: FuturesUnordered<_> = (0..10_000).map(|_| limiter.acquire(1)).collect();
    while let Some(admitted) = queue.next().await {
        admitted.unwrap();
    }
    let elapsed = start.elapsed();
    assert!(elapsed >= ms(4_990), "faster than allowed: {elapsed:?}");
    assert!(elapsed <= ms(5_050), "slower than 99 %: {elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn one_budget_is_shared_by_clones_and_by_layer_calls_and_by_layers_of_one_limiter() {
    let limiter = TokenBucketLimiter::new(Quota::per_minute(4));
    let layer = || TokenBucketLayer::from(limiter.clone()).max_wait(Duration::ZERO);
    let (layer, other) = (layer(), layer());
    let mut first = layer.layer(probe());
    let mut clone = first.clone();
    let mut second = layer.clone().layer(probe());
    let mut third = other.layer(probe());
    for service in [&mut first, &mut clone, &mut second, &mut third] {
        service.ready().await.unwrap().call(()).await.unwrap();
    }
    for service in [&mut first, &mut clone, &mut second, &mut third] {
        service.ready().await.unwrap().call(()).await.unwrap_err();
    }
    assert!(limiter.try_acquire(1).is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wait_over_max_wait_is_refused_at_once_and_says_how_long() {
    let layer = TokenBucketLayer::new(Quota::per_second(1)).max_wait(ms(2_500));
    let mut service = layer.layer(probe());
    let before = Instant::now();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(start(&mut service, ()).await);
    }
    let error = service.ready().await.unwrap().call(()).await.unwrap_err();
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(rejected(&error).limit(), LimitKind::TokenBucket);
    assert_eq!(rejected(&error).retry_after(), Some(ms(3_000)));
    assert_eq!(
        rejected(&error).reason(),
        Reason::WaitTooLong {
            max_wait: ms(2_500)
        }
    );
    for (second, admitted) in waiting.into_iter().enumerate() {
        let at = admitted.end().await.unwrap();
        assert_eq!(at - before, ms(1_000 * second as u64));
    }
}

#[tokio::test(start_paused = true)]
async fn one_more_than_max_waiting_is_refused_at_once() {
    let layer = TokenBucketLayer::new(Quota::per_second(1)).max_waiting(2);
    let mut service = layer.layer(probe());
    let mut waiting = Vec::new();
    for _ in 0..3 {
        waiting.push(start(&mut service, ()).await);
    }
    assert_eq!(layer.limiter().waiting(), 2);
    let error = service.ready().await.unwrap().call(()).await.unwrap_err();
    assert_eq!(
        rejected(&error).reason(),
        Reason::QueueFull { max_waiting: 2 }
    );
    // One goes away and its place can be had.
    waiting.pop();
    assert!(start(&mut service, ()).await.waits());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_waiters_capacity_goes_to_the_one_behind_it() {
    for dropped in 0..3 {
        let limiter = TokenBucketLimiter::new(Quota::per_second(1));
        assert!(limiter.try_acquire(1).is_ok());
        let start = Instant::now();
        let mut queue: Vec<_> = (0..3).map(|_| Box::pin(limiter.acquire(1))).collect();
        for waiter in &mut queue {
            assert!(poll_once(waiter).await.is_none());
        }
        advance(ms(500)).await;
        drop(queue.remove(dropped));
        join_all(queue).await;
        assert_eq!(
            start.elapsed(),
            ms(2_000),
            "the {dropped}th of three was dropped"
        );
        assert_eq!(limiter.waiting(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_waiter_dropped_on_the_dot_takes_nothing() {
    let limiter = TokenBucketLimiter::new(Quota::per_second(1));
    assert!(limiter.try_acquire(1).is_ok());
    let mut waiter = Box::pin(limiter.acquire(1));
    assert!(poll_once(&mut waiter).await.is_none());
    advance(ms(1_000)).await;
    drop(waiter);
    assert!(limiter.try_acquire(1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_cost_above_the_burst_is_refused_for_ever_with_its_own_reason() {
    let layer = TokenBucketLayer::new(Quota::per_second(100).burst(5)).cost(|cost: &u64| *cost);
    let mut service = layer.layer(probe_of());
    let error = service.ready().await.unwrap().call(6).await.unwrap_err();
    assert!(rejected(&error).exceeds_capacity());
    assert_eq!(rejected(&error).retry_after(), None);
    assert_eq!(
        rejected(&error).reason(),
        Reason::ExceedsCapacity {
            cost: 6,
            capacity: 5
        }
    );
    service.ready().await.unwrap().call(5).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_cost_of_zero_passes_whatever_waits() {
    let layer = TokenBucketLayer::new(Quota::per_hour(1)).cost(|cost: &u64| *cost);
    let mut service = layer.layer(probe_of());
    service.ready().await.unwrap().call(1).await.unwrap();
    let waiting = start(&mut service, 1).await;
    assert!(waiting.waits());
    assert!(!start(&mut service, 0).await.waits());
}

#[tokio::test(start_paused = true)]
async fn the_cost_can_ride_in_a_request_extension() {
    let layer = TokenBucketLayer::new(Quota::per_second(10))
        .cost(cost::FromExtension)
        .max_wait(Duration::ZERO);
    let mut service = layer.layer(probe_of());
    let costs = |units| {
        http::Request::get("/")
            .extension(cost::Units(units))
            .body(())
            .unwrap()
    };
    service.ready().await.unwrap().call(costs(9)).await.unwrap();
    service
        .ready()
        .await
        .unwrap()
        .call(http::Request::new(()))
        .await
        .unwrap();
    service
        .ready()
        .await
        .unwrap()
        .call(costs(1))
        .await
        .unwrap_err();
}

#[tokio::test(start_paused = true)]
async fn a_quota_of_zero_refuses_and_never_hangs() {
    for quota in [Quota::per_second(0), Quota::per_second(9).burst(0)] {
        let error = TokenBucketLimiter::new(quota).acquire(1).await.unwrap_err();
        assert!(error.exceeds_capacity());
    }
}

#[tokio::test(start_paused = true)]
async fn huge_settings_saturate() {
    let limiter = TokenBucketLimiter::new(Quota::new(1, Duration::MAX).burst(u64::MAX));
    assert!(limiter.try_acquire(1).is_ok());
    assert!(
        limiter
            .try_acquire(u64::MAX)
            .unwrap_err()
            .exceeds_capacity()
    );
    // Waits for 584 years, and is refused when it may not.
    let mut waiter = Box::pin(limiter.acquire_within(1, Duration::MAX));
    assert!(poll_once(&mut waiter).await.is_none());
    drop(waiter);
    assert!(limiter.acquire_within(1, ms(1)).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_wait_of_many_years_can_be_waited_for() {
    let limiter = TokenBucketLimiter::new(Quota::new(1, Duration::from_secs(86_400 * 365 * 5)));
    limiter.acquire(1).await.unwrap();
    let start = Instant::now();
    limiter.acquire(1).await.unwrap();
    assert_eq!(start.elapsed(), Duration::from_secs(86_400 * 365 * 5));
}

#[tokio::test(start_paused = true)]
async fn the_queue_has_one_timer_for_all() {
    // Each task that sleeps is woken by its own timer: those behind the head must not be woken before it is done.
    let limiter = TokenBucketLimiter::new(Quota::per_second(1));
    assert!(limiter.try_acquire(1).is_ok());
    let mut queue: Vec<_> = (0..100)
        .map(|_| tokio_test::task::spawn(limiter.acquire(1)))
        .collect();
    for waiter in &mut queue {
        assert!(waiter.poll().is_pending());
    }
    advance(Duration::from_secs(60)).await;
    // The timer's driver has to run once.
    tokio::task::yield_now().await;
    assert_eq!(queue.iter().filter(|waiter| waiter.is_woken()).count(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_service_is_clone_and_ready_when_the_inner_one_is() {
    let layer = TokenBucketLayer::new(Quota::per_second(1));
    let probe = probe();
    let calls = probe.calls();
    let mut service = layer.layer(probe);
    let start = Instant::now();
    for _ in 0..3 {
        let mut clone = service.clone();
        clone.ready().await.unwrap().call(()).await.unwrap();
        service.ready().await.unwrap().call(()).await.unwrap();
    }
    assert_eq!(calls.load(Ordering::Relaxed), 6);
    assert_eq!(start.elapsed(), Duration::from_secs(5));
}

// Real time: the clock under test is not tokio's.
#[tokio::test]
async fn the_fast_clock_keeps_the_rate() {
    let limiter = TokenBucketLimiter::with_clock(Quota::per_second(100).burst(1), Clock::quanta());
    let start = Instant::now();
    for _ in 0..21 {
        limiter.acquire(1).await.unwrap();
    }
    assert!(start.elapsed() >= ms(185), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_refund_wakes_the_queue() {
    let limiter = TokenBucketLimiter::new(Quota::per_hour(4));
    let taken = limiter.acquire(4).await.unwrap();
    let mut waiter = Box::pin(limiter.acquire(3));
    assert!(poll_once(&mut waiter).await.is_none());
    let start = Instant::now();
    taken.refund();
    waiter.await.unwrap().refund();
    limiter.try_acquire(4).unwrap();
    limiter.try_acquire(0).unwrap().refund();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_change_of_the_quota_reaches_the_queue() {
    let limiter = TokenBucketLimiter::new(Quota::per_hour(4));
    limiter.try_acquire(4).unwrap();
    let mut waiters: Vec<_> = [3, 4].map(|cost| Box::pin(limiter.acquire(cost))).into();
    for waiter in &mut waiters {
        assert!(poll_once(waiter).await.is_none());
    }
    let start = Instant::now();
    limiter.set_quota(Quota::per_hour(7));
    assert_eq!(limiter.quota(), Quota::per_hour(7));
    let second = waiters.pop().unwrap();
    waiters.pop().unwrap().await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    limiter.set_quota(Quota::per_hour(3));
    let rejected = second.await.unwrap_err();
    let capacity = 3;
    let expected = Reason::ExceedsCapacity { cost: 4, capacity };
    assert_eq!(rejected.reason(), expected);
    assert_eq!(start.elapsed(), Duration::ZERO);
}
