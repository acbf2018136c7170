//! The metrics of limits agree with what a server and its clients counted.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{Request, Response};
use rand::{Rng, RngExt, SeedableRng, rngs::SmallRng};
use tokio::time::{sleep, timeout};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, ConcurrencyLayer, ConcurrencyLimiter, LimiterUsage, Quota, Rejected,
    SlidingWindowLayer, SlidingWindowLimiter, TokenBucketLayer, TokenBucketLimiter,
};

use super::recorder::Recorder;

/// What the clients and the server have counted.
#[derive(Debug, Default)]
struct Counted {
    served: AtomicUsize,
    rejected: AtomicUsize,
    cancelled: AtomicUsize,
}

fn add(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Sends requests at random times, of which some go away, and compares all sums.
async fn agrees<L, S>(layer_name: &str, seed: u64, layer: L)
where
    L: FnOnce(Server) -> S,
    S: Service<Request<()>, Error = BoxError> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
{
    let recorder = Recorder::new();
    let counted = Arc::new(Counted::default());
    let service = recorder.within(|| layer(server(counted.clone())));
    let mut random = SmallRng::seed_from_u64(seed);
    let mut clients = Vec::new();
    for _ in 0..2_000 {
        sleep(Duration::from_millis(random.random_range(0..20))).await;
        let patience = match random.random_range(0..4) {
            0 => Duration::from_millis(random.random_range(0..500)),
            _ => Duration::MAX,
        };
        let (mut service, counted) = (service.clone(), counted.clone());
        clients.push(tokio::spawn(async move {
            let service = service.ready().await.unwrap();
            match timeout(patience, service.call(Request::new(()))).await {
                Ok(Ok(response)) => drop(response),
                Ok(Err(error)) => {
                    assert!(Rejected::of(&error).is_some());
                    add(&counted.rejected);
                }
                Err(_) => add(&counted.cancelled),
            }
        }));
    }
    for client in clients {
        client.await.unwrap();
    }
    let scrape = recorder.scrape();
    let outcome = |outcome| scrape.requests(layer_name, outcome);
    let called = outcome("admitted") + outcome("waited");
    assert_eq!(
        called,
        counted.served.load(Ordering::Relaxed),
        "{}",
        scrape.text
    );
    assert_eq!(
        outcome("rejected"),
        counted.rejected.load(Ordering::Relaxed)
    );
    // A request that was called can be cancelled as well.
    assert!(outcome("cancelled") <= counted.cancelled.load(Ordering::Relaxed));
    assert_eq!(called + outcome("rejected") + outcome("cancelled"), 2_000);
    assert!(
        outcome("waited") > 100 && outcome("cancelled") > 50,
        "{}",
        scrape.text
    );
    assert!(outcome("rejected") > 50, "{}", scrape.text);
    let labels = [("layer", layer_name), ("name", "chaos")];
    let queued = scrape.sum("tower_throttle_queue_seconds_count", &labels) as usize;
    assert!(queued >= outcome("waited") + outcome("cancelled"));
    assert!(queued <= outcome("waited") + outcome("cancelled") + outcome("rejected"));
}

type Server = tower::util::BoxCloneService<Request<()>, Response<String>, Infallible>;

fn server(counted: Arc<Counted>) -> Server {
    let serve = move |_: Request<()>| {
        let counted = counted.clone();
        // At the call: the future may be dropped before it is polled.
        add(&counted.served);
        async move {
            sleep(Duration::from_millis(50)).await;
            Ok(Response::new(String::new()))
        }
    };
    tower::util::BoxCloneService::new(service_fn(serve))
}

#[tokio::test(start_paused = true)]
async fn token_bucket_counts_agree_in_chaos() {
    let layer = TokenBucketLayer::new(Quota::per_second(60).burst(5)).name("chaos");
    let layer = layer.max_wait(Duration::from_secs(1)).max_waiting(60);
    agrees("token_bucket", 1, |server| layer.layer(server)).await;
}

#[tokio::test(start_paused = true)]
async fn sliding_window_counts_agree_in_chaos() {
    let layer = SlidingWindowLayer::new(Quota::per_second(60)).name("chaos");
    let layer = layer.max_wait(Duration::from_secs(1)).max_waiting(60);
    agrees("sliding_window", 2, |server| layer.layer(server)).await;
}

#[tokio::test(start_paused = true)]
async fn concurrency_counts_agree_in_chaos() {
    let layer = ConcurrencyLayer::new(4).name("chaos");
    let layer = layer.max_wait(Duration::from_millis(400)).max_waiting(60);
    agrees("concurrency", 3, |server| layer.layer(server)).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_counts_in_the_layer_that_had_it() {
    let recorder = Recorder::new();
    let limiter = TokenBucketLimiter::new(Quota::per_hour(2));
    let layer = |name| {
        TokenBucketLayer::from(limiter.clone())
            .max_wait(Duration::ZERO)
            .name(name)
    };
    let inner = service_fn(async |()| Ok::<_, Infallible>(()));
    let (chat, embeddings) =
        recorder.within(|| (layer("chat").layer(inner), layer("embeddings").layer(inner)));
    chat.clone().oneshot(()).await.unwrap();
    embeddings.clone().oneshot(()).await.unwrap();
    assert!(embeddings.oneshot(()).await.is_err());
    let scrape = recorder.scrape();
    let sum = |labels: &[_]| scrape.sum("tower_throttle_requests_total", labels);
    assert_eq!(sum(&[("name", "chat")]), 1.0);
    assert_eq!(sum(&[("name", "embeddings")]), 2.0);
    assert_eq!(
        sum(&[("name", "embeddings"), ("reason", "wait_too_long")]),
        1.0
    );
    drop(chat);
}

#[tokio::test(start_paused = true)]
async fn usage_has_one_shape() {
    let counts = |usage: LimiterUsage| (usage.limit, usage.used, usage.waiting, usage.remaining());
    let bucket = TokenBucketLimiter::new(Quota::per_second(10).burst(4));
    let window = SlidingWindowLimiter::new(Quota::per_second(4));
    let ring = SlidingWindowLimiter::new(Quota::per_second(10_000));
    let in_flight = ConcurrencyLimiter::new(4);
    bucket.try_acquire(3).unwrap();
    window.try_acquire(3).unwrap();
    ring.try_acquire(3).unwrap();
    let permits = [(); 3].map(|()| in_flight.try_acquire().unwrap());
    for usage in [bucket.usage(), window.usage(), in_flight.usage()] {
        assert_eq!(counts(usage), (4, 3, 0, 1));
    }
    assert_eq!(counts(ring.usage()), (10_000, 3, 0, 9_997));

    let (mut one, mut two) = (pin!(bucket.acquire(4)), pin!(window.acquire(4)));
    assert!(timeout(Duration::from_millis(1), &mut one).await.is_err());
    assert!(timeout(Duration::from_millis(1), &mut two).await.is_err());
    assert_eq!(counts(bucket.usage()), (4, 3, 1, 1));
    assert_eq!(counts(window.usage()), (4, 3, 1, 1));

    drop(permits);
    window.set_quota(Quota::per_second(2));
    assert_eq!(counts(window.usage()).1, 3);
    sleep(Duration::from_millis(98)).await;
    assert_eq!(counts(bucket.usage()), (4, 2, 1, 2));
    sleep(Duration::from_secs(2)).await;
    assert_eq!((window.usage().used, ring.usage().used), (0, 0));
    assert_eq!(counts(in_flight.usage()), (4, 0, 0, 4));

    let recorder = Recorder::new();
    recorder.publish("main", &in_flight);
    recorder.publish("main", &bucket);
    let scrape = recorder.scrape();
    let labels = [("layer", "concurrency"), ("name", "main")];
    assert_eq!(scrape.sum("tower_throttle_limit", &labels), 4.0);
    assert_eq!(
        scrape.sum("tower_throttle_waiting", &[("layer", "token_bucket")]),
        1.0
    );
}

#[test]
fn nothing_is_recorded_without_a_recorder() {
    let mut random = SmallRng::seed_from_u64(7);
    let limiter = ConcurrencyLimiter::new(random.next_u32() as usize);
    tower_throttle::metrics::describe();
    tower_throttle::metrics::Publish::publish(&limiter, "none");
}
