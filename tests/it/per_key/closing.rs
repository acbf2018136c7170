//! Closing a limiter per key, and refunds.

use super::*;
use tower_throttle::{ConcurrencyLayer, SlidingWindowLayer, per_key::Kind};

const SECOND: Duration = Duration::from_secs(1);

async fn closes<K: Kind>(limiter: PerKeyLimiter<K>) {
    // No permit is released.
    let permit = limiter.try_acquire("ann".into(), 1).unwrap();
    let other = limiter.try_acquire("bob".into(), 1);
    let mut waits = ["ann", "ann", "bob"].map(|key| Box::pin(limiter.acquire(key.into(), 1)));
    for wait in &mut waits {
        assert!(futures::poll!(wait).is_pending());
    }
    assert!(!limiter.is_closed());
    limiter.clone().close();
    limiter.close();
    assert!(limiter.is_closed());
    let [first, second, third] = waits;
    // The first is kept without being polled, and holds up no other.
    for wait in [second, third, first] {
        let rejected = wait.await.err().unwrap();
        assert_eq!(rejected.reason(), Reason::Closed);
        assert_eq!(rejected.retry_after(), None);
    }
    drop((permit, other));
    for key in ["ann", "eve"] {
        let rejected = limiter.try_acquire(key.into(), 1).err().unwrap();
        assert_eq!(rejected.reason(), Reason::Closed);
        let rejected = limiter.acquire(key.into(), 1).await.err().unwrap();
        assert_eq!(rejected.reason(), Reason::Closed);
    }
    assert!(!limiter.max_keys(9).is_closed());
}

#[tokio::test(start_paused = true)]
async fn queued_and_new_requests_of_all_keys_are_rejected() {
    for max_keys in [0, 1, 1_000] {
        closes(PerKeyLimiter::new(Quota::per_hour(1)).max_keys(max_keys)).await;
        closes(PerKeyLimiter::window(Quota::per_hour(1)).max_keys(max_keys)).await;
        closes(PerKeyLimiter::in_flight(1).max_keys(max_keys)).await;
        let window = SlidingWindowLayer::new(Quota::per_day(1));
        let both = PerKeyLimiter::new(Quota::per_hour(1)).and("day", window);
        closes(both.max_keys(max_keys)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_closed_limit_responds_with_a_503() {
    let layer = TokenBucketLayer::new(Quota::per_hour(9))
        .per(API_KEY())
        .exempt(|request| request.path() == "/health")
        .shadow()
        .respond();
    assert_eq!(ask(&layer, from("ann")).await.0, 200);
    layer.limiter().close();
    let (status, headers) = ask(&layer, from("ann")).await;
    assert_eq!(status, 503);
    assert_eq!(headers["retry-after"], "1");
    let health = Request::get("/health").body(()).unwrap();
    assert_eq!(ask(&layer, health).await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_continue_after_the_close() {
    let layer = ConcurrencyLayer::new(1).per(API_KEY());
    let response = layer.layer(hello()).oneshot(from("ann")).await.unwrap();
    layer.limiter().close();
    let ann = ClientKey::secret("ann");
    assert_eq!(layer.limiter().used(ann), 1);
    drop(response);
    assert_eq!((layer.limiter().used(ann), layer.limiter().keys()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_close_while_requests_come_leaves_none_waiting() {
    for _ in 0..50 {
        let limiter = PerKeyLimiter::in_flight(1);
        let tasks: Vec<_> = (0..16_u64)
            .map(|task| {
                let limiter = limiter.clone();
                tokio::spawn(async move {
                    while let Ok(permit) = limiter.acquire((task % 3).into(), 1).await {
                        tokio::task::yield_now().await;
                        drop(permit);
                    }
                })
            })
            .collect();
        tokio::task::yield_now().await;
        limiter.close();
        for task in tasks {
            tokio::time::timeout(10 * SECOND, task)
                .await
                .unwrap()
                .unwrap();
        }
        assert_eq!(limiter.keys(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refund_gives_back_and_wakes_the_queue() {
    let ann = ClientKey::from("ann");
    let limiter = PerKeyLimiter::new(Quota::per_hour(4));
    let permit = limiter.try_acquire(ann, 3).unwrap();
    limiter.try_acquire(ann, 1).unwrap();
    let mut waits = Box::pin(limiter.acquire(ann, 2));
    assert!(futures::poll!(&mut waits).is_pending());
    permit.refund();
    // No time has passed.
    waits.await.unwrap();
    assert_eq!(limiter.used(ann), 3);
    // The rest of the burst has refilled since then, and is not given back a second time.
    let permit = limiter.try_acquire(ann, 1).unwrap();
    advance(Duration::from_secs(3_600)).await;
    permit.refund();
    assert_eq!(limiter.used(ann), 0);
    assert!(limiter.try_acquire(ann, 5).is_err());
    assert!(limiter.try_acquire(ann, 4).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_refund_gives_back_to_all_limits() {
    let window = SlidingWindowLayer::new(Quota::per_day(2));
    let limiter = PerKeyLimiter::window(Quota::per_hour(2)).and("day", window);
    for _ in 0..3 {
        let permit = limiter.try_acquire("ann".into(), 2).unwrap();
        assert!(limiter.try_acquire("ann".into(), 1).is_err());
        permit.refund();
    }
    // A permit that is dropped counts as used.
    drop(limiter.try_acquire("ann".into(), 2).unwrap());
    assert!(limiter.try_acquire("ann".into(), 1).is_err());
}
