//! The store is unreachable.

use super::*;
use crate::{
    error::Reason,
    limit::{Quota, sliding_window::SlidingWindowLimiter},
};

const PERIOD: Duration = Duration::from_secs(10);
const LATENCY: Duration = Duration::from_millis(1);

/// Two processes with a window of 100 in 10 s, the network between them and the store, and what
/// starts.
async fn two(when_down: WhenDown) -> ([SlidingWindowLimiter; 2], Network, Starts) {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limiters = [(); 2].map(|()| {
        let limiter = SlidingWindowLimiter::new(Quota::new(100, PERIOD));
        limiter.in_store(network.process(when_down), "name")
    });
    let starts = Starts::default();
    for limiter in &limiters {
        take(limiter, &starts, 10).await;
    }
    // Both have heard of each other.
    sleep(Duration::from_secs(1)).await;
    (limiters, network, starts)
}

/// Takes up to `most` units without waiting, and returns how many.
async fn take(limiter: &SlidingWindowLimiter, starts: &Starts, most: u64) -> u64 {
    for taken in 0..most {
        if limiter.acquire_within(1, Duration::ZERO).await.is_err() {
            return taken;
        }
        starts.add(1);
    }
    most
}

fn refuse(network: &Network, is_refused: bool) {
    let flag = &network.faults.is_refused;
    flag.store(is_refused, Ordering::Relaxed);
}

#[tokio::test(start_paused = true)]
async fn a_process_keeps_to_its_share() {
    let ([first, second], network, starts) = two(WhenDown::Local).await;
    refuse(&network, true);
    // Each has taken 10 of its 50.
    assert_eq!(take(&first, &starts, 1_000).await, 40);
    assert_eq!(take(&second, &starts, 1_000).await, 40);
    sleep(PERIOD + Duration::from_secs(1)).await;
    assert!((48..=50).contains(&take(&first, &starts, 1_000).await));
    assert!((48..=50).contains(&take(&second, &starts, 1_000).await));
    assert_eq!(starts.fullest(PERIOD), 100);
}

#[tokio::test(start_paused = true)]
async fn what_was_admitted_meanwhile_is_reported() {
    let ([first, second], network, starts) = two(WhenDown::Local).await;
    refuse(&network, true);
    assert_eq!(take(&first, &starts, 1_000).await, 40);
    refuse(&network, false);
    sleep(Duration::from_secs(2)).await;
    // 10 of each before, and 40.
    assert_eq!(take(&second, &starts, 1_000).await, 40);
    assert_eq!(take(&first, &starts, 1_000).await, 0);
    assert_eq!(starts.fullest(PERIOD), 100);
}

#[tokio::test(start_paused = true)]
async fn a_silent_store_delays_no_request_for_long() {
    let ([first, _], network, starts) = two(WhenDown::Local).await;
    network.faults.is_silent.store(true, Ordering::Relaxed);
    for _ in 0..100 {
        let start = Instant::now();
        take(&first, &starts, 1).await;
        let most = Duration::from_millis(300);
        assert!(start.elapsed() <= most, "{:?}", start.elapsed());
    }
    assert_eq!(starts.total(), 20 + 40);
}

#[tokio::test(start_paused = true)]
async fn closed_admits_nothing_and_says_why() {
    let ([first, second], network, _) = two(WhenDown::Closed).await;
    refuse(&network, true);
    let _unknown = first.acquire_within(1, Duration::ZERO).await;
    let rejected = first.acquire_within(1, Duration::ZERO).await.unwrap_err();
    assert_eq!(rejected.reason(), Reason::Unreachable);
    let wait = rejected.retry_after().unwrap();
    assert!(
        wait > Duration::ZERO && wait <= Duration::from_secs(1),
        "{wait:?}"
    );
    // One that may wait, waits for the store.
    let start = Instant::now();
    let (waiting, ()) = tokio::join!(second.acquire(1), async {
        sleep(Duration::from_secs(5)).await;
        refuse(&network, false);
    });
    assert!(waiting.is_ok());
    assert!(
        start.elapsed() <= Duration::from_millis(6_500),
        "{:?}",
        start.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn open_admits_everything() {
    let ([first, _], network, starts) = two(WhenDown::Open).await;
    refuse(&network, true);
    let _unknown = first.acquire_within(1, Duration::ZERO).await;
    assert_eq!(take(&first, &starts, 1_000).await, 1_000);
    refuse(&network, false);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(take(&first, &starts, 1_000).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_was_never_there_is_no_error() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    refuse(&network, true);
    let limiter = SlidingWindowLimiter::new(Quota::new(100, PERIOD));
    let limiter = limiter.in_store(network.process(WhenDown::Local), "name");
    let starts = Starts::default();
    let _unknown = limiter.acquire_within(1, Duration::ZERO).await;
    assert!(take(&limiter, &starts, 1_000).await >= 99);
    sleep(PERIOD + Duration::from_secs(1)).await;
    assert!(take(&limiter, &starts, 1_000).await >= 99);
}

#[tokio::test(start_paused = true)]
async fn any_timeout_is_fine() {
    for timeout in [
        Duration::from_millis(10),
        Duration::from_secs(3),
        PERIOD * 6,
    ] {
        let network = Network::new(&Model::new(), 1, LATENCY, 0);
        refuse(&network, true);
        let settings = StoreSettings {
            timeout,
            ..StoreSettings::default()
        };
        let limiter = SlidingWindowLimiter::new(Quota::new(100, PERIOD));
        let limiter = limiter.in_store(Handle::new(Arc::new(network.clone()), settings), "name");
        let starts = Starts::default();
        let _unknown = limiter.acquire_within(1, Duration::ZERO).await;
        assert!(take(&limiter, &starts, 1_000).await >= 99);
        refuse(&network, false);
        sleep(PERIOD * 2).await;
        assert!(take(&limiter, &starts, 1_000).await >= 99);
        assert!(starts.fullest(PERIOD) <= 100);
    }
}
