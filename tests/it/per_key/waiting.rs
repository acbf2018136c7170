//! Requests that wait in their caller's line.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use http::{Request, Response};
use tokio::time::{Instant, advance, sleep};
use tower::{Layer, Service, ServiceExt};
use tower_throttle::{
    ConcurrencyLayer, LimitKind, Quota, Reason, Rejected, SlidingWindowLayer, TokenBucketLayer,
    key::ClientKey, per_key::PerKeyLimiter, rejection::Problem,
};

use super::{API_KEY, ask, from, hello};
use crate::support::{ms, poll_once};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_caller_waits_its_turn_and_nobody_else_does() {
    let layer = TokenBucketLayer::new(Quota::per_second(1))
        .per(API_KEY())
        .max_wait(3 * SECOND)
        .respond();
    let start = Instant::now();
    let all = (0..5).map(|_| ask(&layer, from("ann")));
    let all = futures::future::join_all(all);
    let bob = async {
        sleep(ms(500)).await;
        assert_eq!(ask(&layer, from("bob")).await.0, 200);
        assert_eq!(start.elapsed(), ms(500));
    };
    let (answers, ()) = tokio::join!(all, bob);
    let status: Vec<_> = answers.iter().map(|(status, _)| status.as_u16()).collect();
    assert_eq!(status, [200, 200, 200, 200, 429]);
    assert_eq!(answers[4].1["retry-after"], "4");
    assert_eq!(start.elapsed(), 3 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn what_a_plain_layer_was_told_of_waiting_goes_for_each_caller() {
    let layer = SlidingWindowLayer::new(Quota::per_second(1))
        .max_wait(SECOND)
        .max_waiting(1)
        .per(API_KEY());
    let limiter = layer.limiter().clone();
    let service = layer.layer(hello());
    let call = |name| service.clone().oneshot(from(name));
    assert!(call("ann").await.is_ok());
    let mut second = Box::pin(call("ann"));
    assert!(futures::poll!(&mut second).is_pending());
    let error = call("ann").await.unwrap_err();
    let rejected = error.downcast_ref::<Rejected>().unwrap();
    // The wait of two is over a second, which is told before the queue is looked at.
    assert_eq!(rejected.retry_after(), Some(2 * SECOND));
    assert!(call("bob").await.is_ok());
    assert!(second.await.is_ok());
    assert_eq!(limiter.rejections(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_line_is_first_come_first_served_whatever_it_costs() {
    let limiter = PerKeyLimiter::new(Quota::per_second(10));
    let ann = ClientKey::from("ann");
    assert!(limiter.try_acquire(ann, 10).is_ok());
    let order = Arc::new(Mutex::new(Vec::new()));
    let calls = [8, 1, 4, 1].map(|cost| {
        let (limiter, order) = (limiter.clone(), order.clone());
        async move {
            limiter.acquire(ann, cost).await.unwrap();
            order.lock().unwrap().push(cost);
        }
    });
    let newcomer = async {
        sleep(ms(100)).await;
        // One is there, but it is the line's.
        assert!(limiter.try_acquire(ann, 1).is_err());
    };
    tokio::join!(futures::future::join_all(calls), newcomer);
    assert_eq!(*order.lock().unwrap(), [8, 1, 4, 1]);
}

#[tokio::test(start_paused = true)]
async fn one_who_goes_away_has_taken_nothing_and_holds_nobody_up() {
    let limiter = PerKeyLimiter::new(Quota::per_second(1));
    let ann = ClientKey::from("ann");
    assert!(limiter.try_acquire(ann, 1).is_ok());
    let mut head = Box::pin(limiter.acquire(ann, 1));
    assert!(futures::poll!(&mut head).is_pending());
    let mut second = Box::pin(limiter.acquire(ann, 1));
    assert!(futures::poll!(&mut second).is_pending());
    advance(ms(500)).await;
    drop(head);
    let start = Instant::now();
    assert!(second.await.is_ok());
    assert_eq!(start.elapsed(), ms(500));
    // Nobody is left, and the line is gone.
    advance(SECOND).await;
    assert!(limiter.try_acquire(ann, 1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_place_in_flight_goes_to_the_first_of_the_line() {
    let limiter = PerKeyLimiter::in_flight(1);
    let ann = ClientKey::from("ann");
    let held = limiter.try_acquire(ann, 1).unwrap();
    let mut first = Box::pin(limiter.acquire(ann, 1));
    let mut second = Box::pin(limiter.acquire(ann, 1));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    drop(held);
    assert!(limiter.try_acquire(ann, 1).is_err(), "overtook the line");
    let held = first.await.unwrap();
    assert!(futures::poll!(&mut second).is_pending());
    drop(held);
    let start = Instant::now();
    let held = second.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    let late = limiter
        .acquire_within(ann, 1, 10 * SECOND)
        .await
        .unwrap_err();
    assert_eq!(
        late.reason(),
        Reason::WaitTooLong {
            max_wait: 10 * SECOND
        }
    );
    assert_eq!(start.elapsed(), 10 * SECOND);
    drop(held);
    assert_eq!(limiter.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_line_has_an_end() {
    let layer = ConcurrencyLayer::new(1)
        .max_wait(SECOND)
        .max_waiting(2)
        .per(API_KEY());
    let limiter = layer.limiter().clone();
    let ann = ClientKey::secret("ann");
    let held = limiter.try_acquire(ann, 1).unwrap();
    let service = layer.layer(hello());
    let call = || Box::pin(service.clone().oneshot(from("ann")));
    let (mut first, mut second) = (call(), call());
    assert!(poll_once(first.as_mut()).await.is_none());
    assert!(poll_once(second.as_mut()).await.is_none());
    let refused = poll_once(call()).await.unwrap().unwrap_err();
    let refused: &Rejected = refused.downcast_ref().unwrap();
    assert_eq!(refused.reason(), Reason::QueueFull { max_waiting: 2 });
    assert_eq!(limiter.rejections(), 1);
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_plan_that_is_raised_is_seen_by_those_who_wait() {
    let limiter = PerKeyLimiter::new(Quota::per_hour(1));
    let places = PerKeyLimiter::in_flight(1);
    let ann = ClientKey::from("ann");
    assert!(limiter.try_acquire(ann, 1).is_ok());
    let held = places.try_acquire(ann, 1).unwrap();
    let mut waits = Box::pin(limiter.acquire(ann, 1));
    let mut queues = Box::pin(places.acquire(ann, 1));
    assert!(futures::poll!(&mut waits).is_pending());
    assert!(futures::poll!(&mut queues).is_pending());
    limiter.set_limits(Quota::per_second(1));
    places.set_limits(2);
    let start = Instant::now();
    assert!(waits.await.is_ok());
    assert_eq!(start.elapsed(), SECOND);
    assert!(futures::poll!(&mut queues).is_ready());
    drop(held);
    // A cost that the new plan never holds waits no longer, either.
    let mut waits = Box::pin(limiter.acquire(ann, 1));
    assert!(futures::poll!(&mut waits).is_pending());
    limiter.set_limits(Quota::per_second(0));
    assert!(waits.await.unwrap_err().exceeds_capacity());
}

#[tokio::test(start_paused = true)]
async fn a_refusal_at_the_end_of_a_wait_is_told_like_any_other() {
    let told = Arc::new(AtomicUsize::new(0));
    let hook = told.clone();
    let layer = ConcurrencyLayer::new(1)
        .per(API_KEY())
        .max_wait(SECOND)
        .on_rejected(move |refused| {
            assert_eq!(refused.key, Some(ClientKey::secret("ann")));
            hook.fetch_add(1, Ordering::Relaxed);
        });
    let limiter = layer.limiter().clone();
    let held = limiter.try_acquire(ClientKey::secret("ann"), 1).unwrap();
    let rejected = layer.layer(hello()).oneshot(from("ann")).await;
    assert!(rejected.is_err());
    assert_eq!((told.load(Ordering::Relaxed), limiter.rejections()), (1, 1));
    drop(held);
}

#[tokio::test(start_paused = true)]
async fn a_shadow_lets_nobody_wait_and_tells_of_those_who_would_wait_too_long() {
    let bucket = || TokenBucketLayer::new(Quota::per_second(1)).per(API_KEY());
    let window = || SlidingWindowLayer::new(Quota::per_second(1)).per(API_KEY());
    for (shadow, took) in [(false, 2 * SECOND), (true, Duration::ZERO)] {
        for max_keys in [0, 1] {
            let (bucket, window) = (bucket().max_keys(max_keys), window().max_keys(max_keys));
            let (bucket, window) = (bucket.max_wait(2 * SECOND), window.max_wait(2 * SECOND));
            bucket.limiter().set_shadow(shadow);
            window.limiter().set_shadow(shadow);
            let start = Instant::now();
            let all = (0..100).map(|_| bucket.layer(hello()).oneshot(from("ann")));
            futures::future::join_all(all).await;
            assert_eq!((bucket.limiter().rejections(), start.elapsed()), (97, took));
            let start = Instant::now();
            let all = (0..100).map(|_| window.layer(hello()).oneshot(from("ann")));
            futures::future::join_all(all).await;
            assert_eq!((window.limiter().rejections(), start.elapsed()), (97, took));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_line_drains_at_the_full_rate_where_it_is_faster_than_a_timer() {
    let limiter = PerKeyLimiter::new(Quota::per_second(2_000).burst(1));
    let start = Instant::now();
    let all = (0..2_000).map(|_| limiter.acquire("ann".into(), 1));
    futures::future::join_all(all).await;
    let took = start.elapsed();
    assert!((ms(985)..=ms(1_001)).contains(&took), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn newcomers_to_a_full_table_wait_for_what_they_share() {
    let limiter = PerKeyLimiter::new(Quota::per_second(1)).max_keys(0);
    let start = Instant::now();
    let all = (0..320_u64).map(|number| limiter.acquire(number.into(), 1));
    futures::future::join_all(all).await;
    // About ten for each of 32 buckets, one a second.
    let took = start.elapsed();
    assert!((9 * SECOND..30 * SECOND).contains(&took), "{took:?}");
    assert_eq!(limiter.keys(), 0);
}

#[tokio::test(start_paused = true)]
async fn one_who_finds_the_line_full_is_told_where_it_stands() {
    let layer = TokenBucketLayer::new(Quota::per_second(1))
        .per(API_KEY())
        .max_wait(10 * SECOND)
        .max_waiting(1)
        .respond_as(Problem);
    let service = layer.layer(hello());
    service.clone().oneshot(from("ann")).await.unwrap();
    let mut waits = Box::pin(service.clone().oneshot(from("ann")));
    assert!(futures::poll!(&mut waits).is_pending());
    let refused = service.clone().oneshot(from("ann")).await.unwrap();
    assert_eq!(refused.status(), 429);
    assert_eq!(refused.headers()["ratelimit"], r#""default";r=0;t=1"#);
    assert!(refused.body().contains("violated-policies"));
}

#[tokio::test(start_paused = true)]
async fn one_who_waited_in_vain_is_told_where_it_stands_and_by_which_limit() {
    let layer = TokenBucketLayer::new(Quota::per_second(1))
        .per(API_KEY())
        .and("hour", SlidingWindowLayer::new(Quota::per_hour(10)))
        .max_wait(2 * SECOND)
        .respond_as(Problem);
    let limiter = layer.limiter().clone();
    let service = layer.layer(hello());
    service.clone().oneshot(from("ann")).await.unwrap();
    let mut waits = Box::pin(service.clone().oneshot(from("ann")));
    assert!(futures::poll!(&mut waits).is_pending());
    limiter.set_limits((Quota::per_second(1), Quota::per_hour(1)));
    let refused = waits.await.unwrap();
    assert_eq!(refused.status(), 429);
    let rejected: &Rejected = refused.extensions().get().unwrap();
    assert_eq!(rejected.limit(), LimitKind::SlidingWindow);
    assert_eq!(refused.headers().get_all("ratelimit").iter().count(), 2);
}

#[tokio::test(start_paused = true)]
async fn one_whose_service_was_never_ready_is_told_like_any_other() {
    let layer = TokenBucketLayer::new(Quota::per_second(1))
        .per(API_KEY())
        .max_wait(2 * SECOND);
    let limiter = layer.limiter().clone();
    #[derive(Clone)]
    struct Never;
    impl Service<Request<()>> for Never {
        type Response = Response<String>;
        type Error = Infallible;
        type Future = Ready<Result<Response<String>, Infallible>>;
        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
            Poll::Pending
        }
        fn call(&mut self, _: Request<()>) -> Self::Future {
            ready(Ok(Response::new(String::new())))
        }
    }
    let mut service = layer.layer(Never);
    service.call(from("ann")).await.unwrap();
    let refused = service.call(from("ann")).await;
    assert!(refused.is_err());
    assert_eq!(limiter.rejections(), 1);
}

/// Whoever waits when the limit begins to watch passes in the end, as the hook is told.
#[tokio::test(start_paused = true)]
async fn one_who_waited_in_vain_passes_a_limit_that_only_watches_by_then() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let hook = told.clone();
    let layer = ConcurrencyLayer::new(1)
        .per(API_KEY())
        .max_wait(SECOND)
        .on_rejected(move |refused| hook.lock().unwrap().push(refused.passed));
    let limiter = layer.limiter().clone();
    let ann = ClientKey::secret("ann");
    let held = limiter.try_acquire(ann, 1).unwrap();
    let mut first = Box::pin(layer.layer(hello()).oneshot(from("ann")));
    let mut second = Box::pin(layer.layer(hello()).oneshot(from("ann")));
    let mut third = Box::pin(limiter.acquire_within(ann, 1, SECOND));
    assert!(futures::poll!(&mut first).is_pending());
    assert!(futures::poll!(&mut second).is_pending());
    assert!(futures::poll!(&mut third).is_pending());
    limiter.set_shadow(true);
    assert!(first.await.is_ok());
    assert!(second.await.is_ok());
    assert!(third.await.is_ok());
    assert_eq!(*told.lock().unwrap(), [true, true]);
    assert_eq!(limiter.used(ann), 1);
    drop(held);
    assert_eq!((limiter.used(ann), limiter.keys()), (0, 0));
}
