//! The rest of the limiters' API, on shared limits.

use std::convert::Infallible;

use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
use crate::{
    error::Reason,
    limit::{
        Priority, Quota,
        sliding_window::SlidingWindowLimiter,
        token_bucket::{TokenBucketLayer, TokenBucketLimiter},
    },
};

const LATENCY: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn network() -> Network {
    Network::new(&Model::new(), 1, LATENCY, 0)
}

fn bucket(network: &Network, quota: Quota) -> TokenBucketLimiter {
    TokenBucketLimiter::new(quota).in_store(network.process(WhenDown::Local), "name")
}

fn takes(network: &Network) -> u64 {
    network.faults.takes.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_response_without_waiting_asks_first() {
    let network = network();
    let limiter = bucket(&network, Quota::per_minute(60).burst(3));
    let service =
        TokenBucketLayer::from(limiter)
            .respond()
            .layer(service_fn(async |_: Request<()>| {
                Ok::<_, Infallible>(Response::<String>::default())
            }));
    let send = async || service.clone().oneshot(Request::new(())).await.unwrap();
    for _ in 0..3 {
        assert_eq!(send().await.status(), StatusCode::OK);
    }
    let rejected = send().await;
    assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(rejected.headers()[RETRY_AFTER], "1");
    // No round trip until then, and no wait.
    let (start, before) = (Instant::now(), takes(&network));
    for _ in 0..100 {
        assert_eq!(send().await.status(), StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!((takes(&network), start.elapsed()), (before, Duration::ZERO));
    sleep(SECOND).await;
    assert_eq!(send().await.status(), StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn a_burst_of_requests_is_admitted_at_once() {
    let network = network();
    let limiter = bucket(&network, Quota::per_hour(50));
    let all = futures::future::join_all((0..60).map(|_| limiter.acquire_within(1, Duration::ZERO)));
    let results = all.await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 50);
    assert!(takes(&network) <= 4, "{}", takes(&network));
}

#[tokio::test(start_paused = true)]
async fn a_large_request_is_not_starved_by_other_processes() {
    let network = network();
    let starts = Starts::default();
    let quota = Quota::per_second(1_000);
    for _ in 0..3 {
        let limiter = bucket(&network, quota);
        for _ in 0..8 {
            let limiter = limiter.clone();
            tokio::spawn(async move {
                loop {
                    limiter.acquire(10).await.unwrap();
                }
            });
        }
    }
    let limiter = bucket(&network, quota);
    sleep(SECOND).await;
    let large = async {
        loop {
            limiter.acquire(900).await.unwrap();
            starts.add(900);
        }
    };
    let _elapsed: Result<(), _> = tokio::time::timeout(SECOND * 40, large).await;
    // A tenth of a quarter of 40,000, at least.
    assert!(starts.total() >= 1_000, "{}", starts.total());
}

#[tokio::test(start_paused = true)]
async fn a_quota_applies_to_all_processes() {
    let network = network();
    let (first, second) = (
        bucket(&network, Quota::per_hour(10)),
        bucket(&network, Quota::per_hour(10)),
    );
    first.acquire(1).await.unwrap();
    second.acquire(1).await.unwrap();
    first.set_quota(Quota::per_hour(100));
    // Heard with the second beat, at the latest.
    sleep(SECOND * 3 / 2).await;
    let now = Duration::ZERO;
    assert!(second.acquire_within(50, now).await.is_ok());
    assert!(first.acquire_within(40, now).await.is_ok());
    assert!(second.acquire_within(40, now).await.is_err());
    // Code with another quota is another deployment.
    let third = bucket(&network, Quota::per_hour(20));
    let rejected = third.acquire_within(50, now).await.unwrap_err();
    assert!(rejected.exceeds_capacity(), "{rejected}");
}

#[tokio::test(start_paused = true)]
async fn refunds_and_unspent_units_come_back() {
    let network = network();
    let (first, second) = (
        bucket(&network, Quota::per_hour(100)),
        bucket(&network, Quota::per_hour(100)),
    );
    let permit = first.acquire(60).await.unwrap();
    assert!(second.acquire_within(60, Duration::ZERO).await.is_err());
    permit.refund();
    sleep(SECOND).await;
    // What was told before holds until it is asked again.
    let _told = second.acquire_within(90, Duration::ZERO).await;
    sleep(SECOND).await;
    second.acquire_within(90, Duration::ZERO).await.unwrap();
    // The rest, all of which is ahead of need, lapses.
    first.acquire_within(5, Duration::ZERO).await.unwrap();
    sleep(SECOND).await;
    second.acquire_within(5, Duration::ZERO).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn units_for_all_let_a_new_request_pass() {
    let limiter = bucket(&network(), Quota::per_minute(6_000));
    limiter.acquire(50).await.unwrap();
    // As much as was spent in the last hold is asked for ahead of need.
    let mut first = tokio_test::task::spawn(limiter.acquire(1));
    assert!(first.poll().is_pending());
    sleep(LATENCY * 4).await;
    // It has not looked since, and its unit stays.
    assert_eq!(limiter.waiting(), 1);
    limiter.try_acquire(50).unwrap();
    assert!(limiter.try_acquire(1).is_err());
    assert!(first.is_woken() && first.poll().is_ready());
}

#[tokio::test(start_paused = true)]
async fn closing_ends_this_process_alone() {
    let network = network();
    let (first, second) = (
        bucket(&network, Quota::per_hour(10)),
        bucket(&network, Quota::per_hour(10)),
    );
    first.acquire(10).await.unwrap();
    let waiting = tokio::spawn({
        let first = first.clone();
        async move { first.acquire(1).await.map(drop) }
    });
    sleep(SECOND).await;
    first.close();
    let rejected = waiting.await.unwrap().unwrap_err();
    assert_eq!(rejected.reason(), Reason::Closed);
    let rejected = first.try_acquire(1).unwrap_err();
    assert_eq!(rejected.reason(), Reason::Closed);
    // Its claim ends, as it is not renewed.
    sleep(SECOND).await;
    second.acquire_within(1, SECOND * 600).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_unlimited_quota_never_asks() {
    let network = network();
    let limiter = bucket(&network, Quota::UNLIMITED);
    for _ in 0..100 {
        limiter.try_acquire(1 << 30).unwrap();
    }
    assert_eq!(takes(&network), 0);
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_is_too_long_is_rejected_at_once() {
    let network = network();
    let limiter = bucket(&network, Quota::per_minute(1));
    limiter.acquire(1).await.unwrap();
    let start = Instant::now();
    let rejected = limiter.acquire_within(1, SECOND * 30).await.unwrap_err();
    let wait = rejected.retry_after().unwrap();
    assert!(wait > SECOND * 59 && wait <= SECOND * 60, "{wait:?}");
    assert!(start.elapsed() <= LATENCY * 2);
    let too_large = limiter.acquire(2).await.unwrap_err();
    assert!(too_large.exceeds_capacity());
}

/// Asks of one process which uses `per_second` of a limit of as many, for ten seconds.
async fn asks(quota: Quota, per_second: u32, workers: usize) -> (u64, Starts) {
    let (network, starts) = (network(), Starts::default());
    let limiter = SlidingWindowLimiter::new(quota);
    let limiter = limiter.in_store(network.process(WhenDown::Local), "name");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..workers {
        let (limiter, starts) = (limiter.clone(), starts.clone());
        tasks.spawn(async move {
            loop {
                limiter.acquire(1).await.unwrap();
                starts.add(1);
                if workers == 1 {
                    sleep(SECOND / per_second).await;
                }
            }
        });
    }
    sleep(SECOND * 10).await;
    (takes(&network), starts)
}

#[tokio::test(start_paused = true)]
async fn few_asks_serve_many_requests() {
    let (takes, starts) = asks(Quota::per_minute(30_000), 200, 1).await;
    println!("{takes} for {}", starts.total());
    assert!(
        takes * 20 <= starts.total(),
        "{takes} for {}",
        starts.total()
    );
}

#[tokio::test(start_paused = true)]
async fn a_saturated_limit_is_asked_four_times_a_hold() {
    // A hold is 250 ms.
    let (takes, starts) = asks(Quota::per_minute(6_000), 0, 64).await;
    println!("{takes} for {}", starts.total());
    assert!(takes <= 4 * 40 + 64, "{takes} for {}", starts.total());
}

#[tokio::test(start_paused = true)]
async fn a_limit_can_be_lifted_and_set_again() {
    let network = network();
    let quota = Quota::per_hour(10);
    let (first, second) = (bucket(&network, quota), bucket(&network, quota));
    first.acquire(5).await.unwrap();
    second.acquire(1).await.unwrap();
    first.set_quota(Quota::UNLIMITED);
    sleep(SECOND * 2).await;
    for _ in 0..100 {
        second.try_acquire(1_000).unwrap();
    }
    first.set_quota(quota);
    sleep(SECOND * 2).await;
    // Nothing was used any more.
    assert!(second.acquire_within(10, Duration::ZERO).await.is_ok());
    assert!(second.acquire_within(1, SECOND * 300).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_queue_is_as_long_as_it_may_be() {
    let network = network();
    let limiter = bucket(&network, Quota::per_minute(1));
    let layer = TokenBucketLayer::from(limiter).max_waiting(10);
    let service = layer.layer(service_fn(async |()| Ok::<_, Infallible>(())));
    let send = |_| tokio::spawn(service.clone().oneshot(()));
    let all: Vec<_> = (0..1_000).map(send).collect();
    sleep(SECOND * 10).await;
    let ended = all.iter().filter(|task| task.is_finished()).count();
    // One has asked and started, and the others wait behind it.
    assert!((990..=991).contains(&ended), "{ended}");
}

#[tokio::test(start_paused = true)]
async fn a_quota_that_was_set_survives_a_loss() {
    let model = Model::new();
    let network = Network::new(&model, 1, LATENCY, 0);
    let limiter = bucket(&network, Quota::per_second(10));
    limiter.acquire(1).await.unwrap();
    limiter.set_quota(Quota::per_hour(100));
    sleep(SECOND).await;
    limiter.acquire(60).await.unwrap();
    sleep(SECOND * 10).await;
    model.forget();
    sleep(SECOND * 5).await;
    assert!(limiter.acquire_within(45, Duration::ZERO).await.is_err());
    assert!(limiter.acquire_within(30, Duration::ZERO).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_quiet_process_reports_what_it_took() {
    for quiet in [0, 5, 100, 490, 505, 900] {
        let model = Model::new();
        let network = Network::new(&model, 1, LATENCY, 0);
        let quota = Quota::per_hour(100);
        let (first, second) = (bucket(&network, quota), bucket(&network, quota));
        first.acquire(1).await.unwrap();
        sleep(SECOND).await;
        second.acquire(60).await.unwrap();
        sleep(Duration::from_millis(quiet)).await;
        model.forget();
        let mut taken = 0;
        let end = Instant::now() + SECOND * 5;
        while Instant::now() < end {
            if first.acquire_within(1, Duration::ZERO).await.is_ok() {
                taken += 1;
            }
            sleep(Duration::from_millis(10)).await;
        }
        assert!((30..=39).contains(&taken), "{taken} after {quiet}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_queue_is_ordered_by_priority() {
    let network = network();
    let limiter = bucket(&network, Quota::per_second(10).burst(1));
    let order = Arc::new(Mutex::new(Vec::new()));
    let request = |number: usize, priority| {
        let (limiter, order) = (limiter.clone(), order.clone());
        tokio::spawn(async move {
            limiter.acquire_as(priority, 1).await.unwrap();
            order.lock().unwrap().push(number);
        })
    };
    // All of one priority are first in, first out.
    let first: Vec<_> = (0..20)
        .map(|number| request(number, Priority::Low))
        .collect();
    futures::future::join_all(first).await;
    let mut all = Vec::new();
    for (number, priority) in [
        (20, Priority::Low),
        (21, Priority::Low),
        (22, Priority::High),
    ] {
        all.push(request(number, priority));
        sleep(Duration::from_millis(2)).await;
    }
    // It does not wait behind all of them.
    let urgent = TokenBucketLayer::from(limiter.clone())
        .max_wait(Duration::from_millis(350))
        .priority(|(): &()| Priority::High)
        .layer(service_fn(async |()| Ok::<_, Infallible>(())));
    urgent.oneshot(()).await.unwrap();
    futures::future::join_all(all).await;
    let order = order.lock().unwrap();
    assert_eq!(order[..20], *(0..20).collect::<Vec<_>>());
    assert_eq!(order[20..], [20, 22, 21]);
}
