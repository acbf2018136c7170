//! Priorities in the queues of all limits on a rate, on a paused clock.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::join_all;
use http::{Request, Response};
use http_body_util::Full;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::{JoinHandle, yield_now},
    time::{Instant, sleep},
};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, Dimension, Priority, Quota, Reason, Rejected, SlidingWindowLayer,
    SlidingWindowLimiter, TokenBucketLayer, TokenBucketLimiter, Tokens, key,
    per_key::PerKeyLimiter,
    provider::{Provider, ProviderLayer, ProviderLimiter},
};

use crate::support::{ms, poll_once, probe_of};

use Priority::{High, Low, Normal};

/// Ten a second, one at a time.
fn ten() -> Quota {
    Quota::per_second(10).burst(1)
}

/// The priority of a request that is one.
fn itself(request: &Priority) -> Priority {
    *request
}

fn one(_: &Priority) -> u64 {
    1
}

/// Records the order in which requests start.
#[derive(Debug, Clone, Default)]
struct Order(Arc<Mutex<Vec<Priority>>>);

impl Order {
    fn add(&self, priority: Priority) {
        self.0.lock().unwrap().push(priority);
    }

    fn all(&self) -> Vec<Priority> {
        self.0.lock().unwrap().clone()
    }
}

/// Waits until spawned requests are in the queue.
async fn joined() {
    for _ in 0..100 {
        yield_now().await;
    }
}

fn rejection(error: &BoxError) -> &Rejected {
    error.downcast_ref().expect("a Rejected")
}

#[tokio::test(start_paused = true)]
async fn interactive_requests_pass_a_batch() {
    let limiter = TokenBucketLimiter::new(ten());
    let batch = TokenBucketLayer::from(limiter.clone())
        .priority(itself)
        .cost(one)
        .layer(probe_of());
    // The head of the queue, and the request itself. A timer ticks once in a millisecond.
    let most = ms(201);
    let interactive = TokenBucketLayer::from(limiter.clone())
        .max_wait(most)
        .cost(one)
        .priority(itself)
        .layer(probe_of());

    let start = Instant::now();
    let batch: Vec<_> = (0..1_000)
        .map(|_| tokio::spawn(batch.clone().oneshot(Low)))
        .collect();
    joined().await;
    let mut random = StdRng::seed_from_u64(7);
    let mut urgent = Vec::new();
    let mut in_time = 0;
    while limiter.waiting() > 50 {
        sleep(ms(random.random_range(500..3_000))).await;
        let service = interactive.clone();
        let request = async move {
            let start = Instant::now();
            service.oneshot(High).await.unwrap();
            start.elapsed()
        };
        urgent.push(tokio::spawn(request));
        in_time += 1;
    }
    let waits = join_all(urgent).await.into_iter().map(Result::unwrap);
    let mut waits: Vec<_> = waits.collect();
    waits.sort();
    let p99 = waits[waits.len() * 99 / 100];
    assert!(waits.len() > 40 && p99 <= most, "{p99:?}");
    assert!(*waits.last().unwrap() <= most, "{waits:?}");

    // All of the batch has started, and the limit was used up.
    for request in batch {
        request.await.unwrap().unwrap();
    }
    let intervals = 1_000 + in_time - 1;
    let (elapsed, expected) = (start.elapsed(), ms(100) * intervals);
    assert!(
        (expected..expected + ms(5)).contains(&elapsed),
        "{elapsed:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_flood_does_not_starve_low() {
    let limiter = TokenBucketLimiter::new(ten());
    let order = Order::default();
    let request = |priority| {
        let (limiter, order) = (limiter.clone(), order.clone());
        tokio::spawn(async move {
            limiter.acquire_as(priority, 1).await.unwrap();
            order.add(priority);
        })
    };
    let low: Vec<_> = (0..20).map(|_| request(Low)).collect();
    let high: Vec<_> = (0..400).map(|_| request(High)).collect();
    join_all(low.into_iter().chain(high)).await;
    let order = order.all();
    let last_low = order.iter().rposition(|priority| *priority == Low).unwrap();
    let mut nines = order[..=last_low].windows(9);
    assert!(nines.all(|nine| nine.contains(&Low)), "{order:?}");
    let is_low = |priority: &&Priority| **priority == Low;
    assert_eq!(order[..90].iter().filter(is_low).count(), 11);
}

#[tokio::test(start_paused = true)]
async fn each_priority_is_first_in_first_out() {
    let limiter = SlidingWindowLimiter::new(Quota::new(1, ms(100)));
    let order = Arc::new(Mutex::new(Vec::new()));
    let request = |number: usize, priority| {
        let (limiter, order) = (limiter.clone(), order.clone());
        tokio::spawn(async move {
            limiter.acquire_as(priority, 1).await.unwrap();
            order.lock().unwrap().push(number);
        })
    };
    let priorities = [
        Low,
        Low,
        Normal,
        High,
        Normal,
        Priority::Critical,
        Low,
        High,
    ];
    let all: Vec<_> = priorities
        .into_iter()
        .enumerate()
        .map(|(number, priority)| request(number, priority))
        .collect();
    join_all(all).await;
    // The second one has its turn before the others come.
    assert_eq!(*order.lock().unwrap(), [0, 1, 3, 5, 7, 2, 4, 6]);
}

#[tokio::test(start_paused = true)]
async fn max_wait_counts_who_is_ahead() {
    let limiter = TokenBucketLimiter::new(ten());
    let batch: Vec<_> = (0..50)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.acquire_as(Low, 1).await.is_ok() })
        })
        .collect();
    joined().await;
    let layer = |max_wait| {
        let layer = TokenBucketLayer::from(limiter.clone()).max_wait(max_wait);
        layer.priority(itself).layer(probe_of())
    };
    let start = Instant::now();
    // The head waits for 100 ms.
    let error = layer(ms(150)).oneshot(High).await.unwrap_err();
    assert_eq!(rejection(&error).retry_after(), Some(ms(200)));
    let error = layer(ms(200)).oneshot(Low).await.unwrap_err();
    assert_eq!(rejection(&error).retry_after(), Some(ms(5_000)));
    assert_eq!(start.elapsed(), ms(0));
    layer(ms(200)).oneshot(High).await.unwrap();
    assert!(start.elapsed() <= ms(201));
    assert!(join_all(batch).await.into_iter().all(Result::unwrap));
}

#[tokio::test(start_paused = true)]
async fn a_window_has_priorities_as_well() {
    let layer = SlidingWindowLayer::new(Quota::new(1, ms(100)));
    let layer = layer.cost(one).priority(itself).max_waiting(5).respond();
    let limiter = layer.limiter().clone();
    let order = Order::default();
    let service = {
        let order = order.clone();
        layer
            .max_wait(Duration::MAX)
            .layer(service_fn(move |priority| {
                order.add(priority);
                async { Ok::<_, Infallible>(Response::new(String::new())) }
            }))
    };
    let requests = [Low, Low, Low, Normal, High].map(|priority| service.clone().call(priority));
    assert_eq!(limiter.waiting(), 4);
    join_all(requests).await;
    assert_eq!(order.all(), [Low, Low, High, Normal, Low]);
}

#[tokio::test(start_paused = true)]
async fn closing_rejects_all_priorities() {
    let limiter = TokenBucketLimiter::new(ten());
    let requests: Vec<JoinHandle<_>> = [High, Low, Normal, Low, High]
        .into_iter()
        .map(|priority| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.acquire_as(priority, 1).await.map(drop) })
        })
        .collect();
    joined().await;
    assert_eq!(limiter.waiting(), 4);
    limiter.close();
    let results: Vec<_> = join_all(requests).await;
    let closed = results
        .into_iter()
        .filter_map(|result| result.unwrap().err());
    let reasons: Vec<_> = closed.map(|rejected| rejected.reason()).collect();
    assert_eq!(reasons, [Reason::Closed; 4]);
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_passes_its_turn_on() {
    let limiter = TokenBucketLimiter::new(ten());
    limiter.try_acquire(1).unwrap();
    let join = |priority| Box::pin(limiter.acquire_as(priority, 1));
    let (mut head, mut low, mut normal) = (join(Low), join(Low), join(Normal));
    for request in [&mut head, &mut low, &mut normal] {
        assert!(poll_once(request).await.is_none());
    }
    // The turn goes to `normal`, which is dropped before it sees that.
    drop(head);
    drop(normal);
    let start = Instant::now();
    low.await.unwrap();
    assert!(start.elapsed() <= ms(101));
    assert_eq!(limiter.waiting(), 0);
}

#[tokio::test(start_paused = true)]
async fn priorities_hold_for_each_key() {
    let layer = TokenBucketLayer::new(ten())
        .per(key::ApiKey::header("x-api-key"))
        .cost(|_: &Request<Priority>| 1)
        .settle(|_: &Response<Priority>| 1)
        .priority(|request: &Request<Priority>| *request.body())
        .max_wait(ms(201))
        .respond();
    let order = Order::default();
    let service = {
        let order = order.clone();
        layer.layer(service_fn(move |request: Request<Priority>| {
            order.add(*request.body());
            async move { Ok::<_, Infallible>(Response::new(*request.body())) }
        }))
    };
    let from = |name: &str, priority| {
        let request = Request::get("/").header("x-api-key", name);
        service.clone().call(request.body(priority).unwrap())
    };
    // The third would wait for 300 ms, and the urgent one does not wait for the second.
    let start = Instant::now();
    let ann = [Low, Low, Low, Low, High].map(|priority| from("ann", priority));
    let bob = from("bob", Normal);
    let statuses = async {
        join_all(ann)
            .await
            .into_iter()
            .map(|one| one.unwrap().status())
    };
    let (statuses, bob) = tokio::join!(statuses, async { (bob.await, start.elapsed()) });
    assert_eq!(bob.0.unwrap().status(), 200);
    assert_eq!(bob.1, ms(0));
    let statuses: Vec<_> = statuses.map(|status| status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 429, 429, 200]);
    assert_eq!(order.all(), [Low, Normal, Low, High]);

    let limiter = PerKeyLimiter::new(ten());
    limiter.try_acquire("ann".into(), 1).unwrap();
    let request = |priority| limiter.acquire_as(priority, "ann".into(), 1);
    let order = Order::default();
    let add = async |priority| {
        request(priority).await.unwrap();
        order.add(priority);
    };
    tokio::join!(add(Low), add(Low), add(High));
    assert_eq!(order.all(), [Low, High, Low]);
}

#[tokio::test(start_paused = true)]
async fn interactive_requests_pass_a_batch_of_tokens() {
    let tokens = Quota::per_second(1_000).burst(100);
    let provider = Provider::new("mine")
        .bucket()
        .limit(Dimension::Requests, ten());
    let provider = provider.limit(Dimension::Tokens, tokens);
    let limiter = ProviderLimiter::new(provider).learn(false);
    let start = Instant::now();
    let batch: Vec<_> = (0..300)
        .map(|_| {
            let limiter = limiter.clone();
            let request = async move { drop(limiter.acquire_as(Low, Tokens::new(100, 0)).await) };
            tokio::spawn(request)
        })
        .collect();
    joined().await;
    let layer = ProviderLayer::from(limiter.clone())
        .max_wait(ms(205))
        .priority(|request: &Request<Priority>| *request.body())
        .estimate(|_: &Request<Priority>| Tokens::new(100, 0));
    let service = layer.layer(service_fn(async |_: Request<Priority>| {
        Ok::<_, Infallible>(Response::new(Full::<&[u8]>::default()))
    }));
    let send = async |priority| service.clone().oneshot(Request::new(priority)).await;
    let mut random = StdRng::seed_from_u64(11);
    let mut urgent = 0;
    while limiter.usage().waiting > 20 {
        sleep(ms(random.random_range(500..3_000))).await;
        let error = send(Low).await.unwrap_err();
        assert!(rejection(&error).retry_after() > Some(ms(1_000)));
        let start = Instant::now();
        send(High).await.unwrap();
        assert!(start.elapsed() <= ms(205), "{:?}", start.elapsed());
        urgent += 1;
    }
    join_all(batch).await;
    let (elapsed, expected) = (start.elapsed(), ms(100) * (300 + urgent - 1));
    assert!(
        (expected..expected + ms(20)).contains(&elapsed),
        "{elapsed:?}, {expected:?}"
    );
    assert!(urgent > 10);
    assert_eq!(limiter.usage().waiting, 0);
}
