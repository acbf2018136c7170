//! What waits for a limiter: its bounds when something ahead of it does not move, and its order.

use std::{
    convert::Infallible,
    future::Future,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tower::{Layer, Service, ServiceExt, limit::ConcurrencyLimit, service_fn};
use tower_throttle::{
    BoxError, ConcurrencyLayer, ConcurrencyLimiter, Quota, Reason, Rejected, SlidingWindowLayer,
    SlidingWindowLimiter, TokenBucketLayer, TokenBucketLimiter,
};

use crate::support::{ms, poll_once, probe, start};

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_max_wait_behind_a_head_whose_inner_service_is_not_ready() {
    let limiter = SlidingWindowLimiter::new(Quota::per_second(1));
    assert!(limiter.try_acquire(1).is_ok());
    let inner = ConcurrencyLimit::new(probe(), 1);
    let mut blocker = inner.clone();
    let layer = SlidingWindowLayer::from(limiter.clone()).max_wait(ms(3_500));
    let (mut stuck, mut healthy) = (layer.layer(inner), layer.layer(probe()));
    let begin = Instant::now();
    let head = start(&mut stuck, ()).await;
    drop(stuck);
    blocker.ready().await.unwrap();
    sleep(ms(500)).await;
    let behind = start(&mut healthy, ()).await;
    assert!(head.waits() && behind.waits());
    let (head, behind) = tokio::join!(async { (head.end().await, begin.elapsed()) }, async {
        (behind.end().await, begin.elapsed())
    },);
    // The head's time ends first, give or take the lateness of a timer; then the one behind may start.
    let error: BoxError = head.0.unwrap_err();
    let rejected: &Rejected = error.downcast_ref().unwrap();
    assert_eq!(
        rejected.reason(),
        Reason::WaitTooLong {
            max_wait: ms(3_500)
        }
    );
    assert!((ms(3_500)..=ms(3_515)).contains(&head.1), "{:?}", head.1);
    assert!(behind.0.is_ok());
    assert!(behind.1 <= ms(3_515), "{:?}", behind.1);
}

#[tokio::test(start_paused = true)]
async fn who_reaches_the_head_after_its_time_is_refused() {
    let limiter = TokenBucketLimiter::new(Quota::new(1, ms(10_000)));
    assert!(limiter.try_acquire(1).is_ok());
    let mut patient = Box::pin(limiter.acquire(1));
    assert!(poll_once(&mut patient).await.is_none());
    let mut hasty = Box::pin(limiter.acquire_within(1, ms(25_000)));
    assert!(poll_once(&mut hasty).await.is_none());
    // Nobody polls the head in time.
    sleep(ms(30_000)).await;
    patient.await.unwrap();
    assert!(hasty.await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_timers_lateness_refuses_nobody_who_was_let_into_the_queue() {
    // Due after 1.5 and 3 ms; the timer ticks at 2, and then at 4: half a millisecond later than it was promised.
    let limiter = SlidingWindowLimiter::new(Quota::new(1, Duration::from_micros(1_500)));
    let acquire = || limiter.acquire_within(1, ms(3));
    assert!(limiter.try_acquire(1).is_ok());
    let results = join_all([acquire(), acquire()]).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
    // One more would have had to wait longer.
    let results = join_all([acquire(), acquire(), acquire()]).await;
    assert!(results[2].is_err());
}

#[tokio::test(start_paused = true)]
async fn what_is_unlimited_lets_nothing_wait() {
    const LARGEST: u64 = (1 << 40) - 1;
    let bucket = TokenBucketLimiter::new(Quota::UNLIMITED);
    let window = SlidingWindowLimiter::new(Quota::UNLIMITED);
    let slots = ConcurrencyLimiter::unlimited();
    let begin = Instant::now();
    let mut permits = Vec::new();
    for _ in 0..10_000 {
        bucket
            .acquire_within(LARGEST, Duration::ZERO)
            .await
            .unwrap_or_else(|r| panic!("{r}"));
        window
            .acquire_within(1_000_000, Duration::ZERO)
            .await
            .unwrap();
        permits.push(slots.try_acquire().unwrap());
    }
    assert_eq!(begin.elapsed(), Duration::ZERO);
    slots.set_limit(1);
    assert!(slots.try_acquire().is_err());
}

#[tokio::test(start_paused = true)]
async fn the_order_is_that_of_the_calls_and_not_of_the_first_polls() {
    let layer = TokenBucketLayer::new(Quota::per_second(1));
    let order = Arc::new(Mutex::new(Vec::new()));
    let served = order.clone();
    let mut service = layer.layer(service_fn(move |number: u32| {
        served.lock().unwrap().push(number);
        std::future::ready(Ok::<_, Infallible>(()))
    }));
    let mut calls = Vec::new();
    for number in 0..4 {
        calls.push(service.ready().await.unwrap().call(number));
    }
    calls.reverse();
    join_all(calls).await;
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_never_polled_gives_its_place_up_when_it_is_dropped() {
    let layer = TokenBucketLayer::new(Quota::per_second(1));
    let mut service = layer.layer(probe());
    start(&mut service, ()).await.end().await.unwrap();
    let unpolled = service.ready().await.unwrap().call(());
    assert_eq!(layer.limiter().waiting(), 1);
    drop(unpolled);
    assert_eq!(layer.limiter().waiting(), 0);
    sleep(ms(1_000)).await;
    assert!(layer.limiter().try_acquire(1).is_ok());
}

/// A service that was refused and is kept holds nothing that others need.
macro_rules! lets_go_when_refused {
    ($($name:ident: $layer:expr;)+) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            let inner = ConcurrencyLimit::new(probe(), 1);
            let mut other = inner.clone();
            let mut service = $layer.layer(inner);
            let first = service.ready().await.unwrap().call(()).await;
            drop(first);
            assert!(service.ready().await.unwrap().call(()).await.is_err());
            assert!(poll_once(other.ready()).await.is_some(), "the refused one holds the permit");
        }
    )+};
}

lets_go_when_refused! {
    a_token_bucket_lets_go_when_refused:
        TokenBucketLayer::new(Quota::per_hour(1)).max_wait(Duration::ZERO);
    a_sliding_window_lets_go_when_refused:
        SlidingWindowLayer::new(Quota::per_hour(1)).max_wait(Duration::ZERO);
    a_cost_that_never_fits_lets_go:
        TokenBucketLayer::new(Quota::per_hour(1)).cost(|(): &()| 2);
    concurrency_lets_go_when_refused: ConcurrencyLayer::new(0).until_response();
}

#[tokio::test(start_paused = true)]
async fn a_newcomer_does_not_overtake_one_who_is_about_to_be_woken() {
    let limiter = ConcurrencyLimiter::new(2);
    let held = [
        limiter.try_acquire().unwrap(),
        limiter.try_acquire().unwrap(),
    ];
    let mut queue = [Box::pin(limiter.acquire()), Box::pin(limiter.acquire())];
    for waiter in &mut queue {
        assert!(poll_once(waiter).await.is_none());
    }
    // One slot goes to the head; the other one is free, and the second in line has not been polled.
    drop(held);
    assert!(limiter.try_acquire().is_err());
    for waiter in queue {
        let permit = waiter.await.unwrap();
        drop(permit);
    }
}

// Threads: the race is between giving back and lowering.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_limit_lowered_while_slots_are_given_back_leaves_none_too_many() {
    for _ in 0..2_000 {
        let limiter = ConcurrencyLimiter::new(4);
        let permits: Vec<_> = (0..4).map(|_| limiter.try_acquire().unwrap()).collect();
        let giving = tokio::spawn(async move { drop(permits) });
        limiter.set_limit(1);
        giving.await.unwrap();
        assert_eq!(limiter.in_flight(), 0);
        let _held = limiter.try_acquire().unwrap();
        assert!(limiter.try_acquire().is_err());
    }
}

#[tokio::test(start_paused = true)]
async fn costs_that_add_up_to_more_than_can_be_counted_are_refused() {
    let limiter = TokenBucketLimiter::new(Quota::new(1 << 62, Duration::from_nanos(1)));
    let capacity = (1 << 62) - 1;
    assert!(limiter.try_acquire(capacity).is_ok());
    let mut queue: Vec<_> = (0..4)
        .map(|_| Box::pin(limiter.acquire(capacity)))
        .collect();
    for waiter in &mut queue {
        assert!(poll_once(waiter).await.is_none());
    }
    let error = limiter.acquire(capacity).await.unwrap_err();
    assert_eq!(error.reason(), Reason::QueueFull { max_waiting: 4 });
}

/// How many of 100 in a queue are woken by a second, in which there is no room for them.
async fn woken<F: Future>(waiting: impl Fn() -> F) -> usize {
    let mut queue: Vec<_> = (0..100)
        .map(|_| tokio_test::task::spawn(waiting()))
        .collect();
    for waiter in &mut queue {
        assert!(waiter.poll().is_pending());
    }
    tokio::time::advance(ms(1_000)).await;
    tokio::task::yield_now().await;
    queue.iter().filter(|waiter| waiter.is_woken()).count()
}

#[tokio::test(start_paused = true)]
async fn only_a_longest_wait_costs_a_timer_for_each() {
    let slots = ConcurrencyLimiter::new(1);
    let _held = slots.try_acquire().unwrap();
    assert_eq!(woken(|| slots.acquire()).await, 0);
    assert_eq!(woken(|| slots.acquire_within(ms(100))).await, 100);
    let bucket = TokenBucketLimiter::new(Quota::per_second(1));
    bucket.acquire(1).await.unwrap();
    assert_eq!(woken(|| bucket.acquire(1)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn layers_of_one_limiter_wait_as_each_is_set() {
    let limiter = ConcurrencyLimiter::new(1);
    let _held = limiter.try_acquire().unwrap();
    let begin = Instant::now();
    let end = async |max_wait| {
        let layer = ConcurrencyLayer::from(limiter.clone());
        let service = layer.until_response().max_wait(max_wait).layer(probe());
        let error = service.oneshot(()).await.unwrap_err();
        let rejected: &Rejected = error.downcast_ref().unwrap();
        (begin.elapsed(), rejected.reason())
    };
    let (patient, hasty) = tokio::join!(end(ms(60_000)), end(ms(100)));
    for ((elapsed, reason), max_wait) in [(patient, ms(60_000)), (hasty, ms(100))] {
        assert_eq!(elapsed, max_wait);
        assert_eq!(reason, Reason::WaitTooLong { max_wait });
    }
}

#[tokio::test(start_paused = true)]
async fn a_handle_of_a_limiter_leaves_its_layers_alone() {
    let layer = TokenBucketLayer::new(Quota::per_hour(1)).respond();
    let mut server = layer.layer(service_fn(async |(): ()| {
        Ok::<_, Infallible>(http::Response::new(String::new()))
    }));
    assert_eq!(
        server
            .ready()
            .await
            .unwrap()
            .call(())
            .await
            .unwrap()
            .status(),
        200
    );
    let mut waits = Box::pin(layer.limiter().acquire(1));
    assert!(poll_once(&mut waits).await.is_none());
    let refused = poll_once(server.ready().await.unwrap().call(())).await;
    assert_eq!(refused.expect("it waits").unwrap().status(), 429);
}

#[tokio::test(start_paused = true)]
async fn a_kept_front_holds_nobody_longer_than_max_wait() {
    let bucket = TokenBucketLimiter::new(Quota::per_second(1));
    bucket.acquire(1).await.unwrap();
    let mut kept = Box::pin(bucket.acquire(1));
    assert!(poll_once(&mut kept).await.is_none());
    let begin = Instant::now();
    assert!(bucket.acquire_within(1, ms(2_500)).await.is_err());
    assert!((ms(2_500)..=ms(2_511)).contains(&begin.elapsed()));
    let slots = ConcurrencyLimiter::new(1);
    let held = slots.try_acquire().unwrap();
    let mut kept_slot = Box::pin(slots.acquire());
    assert!(poll_once(&mut kept_slot).await.is_none());
    drop(held);
    let begin = Instant::now();
    assert!(slots.acquire_within(ms(2_500)).await.is_err());
    assert_eq!(begin.elapsed(), ms(2_500));
    kept.await.unwrap();
    drop(kept_slot.await.unwrap());
    assert_eq!((bucket.waiting(), slots.waiting()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_refused_call_leaves_the_inner_services_queue() {
    let limiter = SlidingWindowLimiter::new(Quota::per_second(1));
    assert!(limiter.try_acquire(1).is_ok());
    let inner = ConcurrencyLimit::new(probe(), 1);
    let (mut blocker, mut other) = (inner.clone(), inner.clone());
    let layer = SlidingWindowLayer::from(limiter).max_wait(ms(1_500));
    let mut service = layer.layer(inner);
    let mut refused = Box::pin(service.ready().await.unwrap().call(()));
    drop(service);
    blocker.ready().await.unwrap();
    assert!(refused.as_mut().await.is_err());
    drop(blocker);
    // The future is kept, and what waited in it is not.
    let ready = tokio::time::timeout(ms(100), other.ready()).await;
    assert!(ready.is_ok(), "the only permit went to a call that is over");
    drop(refused);
}

#[tokio::test(start_paused = true)]
async fn nobody_keeps_a_slot_for_longer_than_max_wait() {
    let limiter = ConcurrencyLimiter::new(1);
    let held = limiter.try_acquire().unwrap();
    let inner = ConcurrencyLimit::new(probe(), 1);
    let mut blocker = inner.clone();
    let layer = ConcurrencyLayer::from(limiter.clone());
    let layer = layer.until_response().max_wait(ms(1_000));
    let (mut stuck, mut healthy) = (layer.layer(inner), layer.layer(probe()));
    let begin = Instant::now();
    let stuck_call = start(&mut stuck, ()).await;
    drop(stuck);
    blocker.ready().await.unwrap();
    sleep(ms(500)).await;
    drop(held);
    let behind = start(&mut healthy, ()).await;
    let (stuck, behind) = tokio::join!(
        tokio::time::timeout(ms(5_000), stuck_call.end()),
        behind.end()
    );
    let error = stuck.expect("it may wait for a second").unwrap_err();
    assert_eq!(
        error.downcast_ref::<Rejected>().unwrap().reason(),
        Reason::WaitTooLong {
            max_wait: ms(1_000)
        }
    );
    behind.unwrap();
    assert!(begin.elapsed() <= ms(1_015), "{:?}", begin.elapsed());
    assert_eq!(limiter.in_flight(), 0);
}
