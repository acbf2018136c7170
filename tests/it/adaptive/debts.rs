//! A limit that changes while slots are on their way from one to the next.

use std::pin::pin;

use tower::{Layer, Service, ServiceExt, service_fn};
use tower_throttle::{BoxError, ConcurrencyLayer, ConcurrencyLimiter};

use crate::support::poll_once;

#[tokio::test(start_paused = true)]
async fn a_slot_that_was_on_its_way_to_one_who_goes_away_vanishes_with_a_lowered_limit() {
    let limiter = ConcurrencyLimiter::new(2);
    let [first, second] = [(); 2].map(|()| limiter.try_acquire().unwrap());
    let mut waits = Box::pin(limiter.acquire());
    assert!(poll_once(waits.as_mut()).await.is_none());
    drop(first);
    limiter.set_limit(1);
    drop(waits);
    assert_eq!((limiter.in_flight(), limiter.limit()), (1, 1));
    assert!(limiter.try_acquire().is_err());
    drop(second);
    assert!(limiter.try_acquire().is_ok());
}

#[tokio::test]
async fn a_failed_call_gives_its_permit_back_before_its_future_is_dropped() {
    let fails = service_fn(|(): ()| async { Err::<(), BoxError>("wrong".into()) });
    let limited = ConcurrencyLayer::new(1).until_response().layer(fails);
    let limiter = limited.limiter();
    let mut service = limited.clone();
    let mut future = pin!(service.ready().await.unwrap().call(()));
    assert!(future.as_mut().await.is_err());
    assert_eq!(limiter.in_flight(), 0);
}
