//! Limits of clients that several processes share.

use std::{
    convert::Infallible,
    pin::pin,
    sync::mpsc,
    task::{Context, Wake, Waker},
    thread,
};

use http::{HeaderMap, Request, Response, StatusCode, header::RETRY_AFTER};
use tower::{Layer, ServiceExt, service_fn};

use super::*;
#[cfg(feature = "metrics")]
use crate::telemetry::metrics;
use crate::{
    error::{BoxError, LimitKind, Reason},
    limit::{
        Quota,
        concurrency::{ConcurrencyLayer, ConcurrencyLimiter},
        engine::UntilResponse,
        key::{self, ApiKey, ClientKey},
        per_key::kind::Rate,
        sliding_window::SlidingWindowLayer,
        token_bucket::{TokenBucketLayer, TokenBucketLimiter},
    },
    per_key::{PerKeyLayer, PerKeyLimiter},
};

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::ZERO;

fn network() -> Network {
    Network::new(&Model::new(), 1, Duration::from_millis(1), 0)
}

fn bucket(network: &Network, quota: Quota) -> PerKeyLimiter {
    PerKeyLimiter::new(quota).in_store(network.process(WhenDown::Local), "name".into())
}

fn takes(network: &Network) -> u64 {
    network.faults.takes.load(Ordering::Relaxed)
}

fn ann() -> ClientKey {
    ClientKey::from("ann")
}

/// A service of `limiter` that uses as many units as the body of the request says.
async fn send(
    limiter: &PerKeyLimiter<impl Rate<Until = UntilResponse>>,
    client: &'static str,
    (reserved, used): (u64, u64),
) -> (StatusCode, HeaderMap) {
    let layer = PerKeyLayer::new(limiter.clone(), key::Header::new("x-client"))
        .cost(move |_: &Request<u64>| reserved)
        .settle(|response: &Response<u64>| *response.body())
        .respond();
    let service = layer.layer(service_fn(async |request: Request<u64>| {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    }));
    let request = Request::get("/").header("x-client", client);
    let response = service.oneshot(request.body(used).unwrap()).await.unwrap();
    (response.status(), response.headers().clone())
}

#[tokio::test(start_paused = true)]
async fn an_api_key_is_one_client_in_all_processes() {
    let network = network();
    let send = async |key: ApiKey| {
        let limiter = bucket(&network, Quota::per_hour(2));
        let layer = PerKeyLayer::new(limiter, key).respond();
        let service = layer.layer(service_fn(async |_: Request<()>| {
            Ok::<_, Infallible>(Response::<String>::default())
        }));
        let request = Request::get("/").header("authorization", "Bearer sk-live-0123456789");
        let response = service.oneshot(request.body(()).unwrap()).await.unwrap();
        response.status()
    };
    for key in [
        ApiKey::bearer(),
        ApiKey::bearer().keyed("one"),
        ApiKey::bearer().keyed("two"),
    ] {
        assert_eq!(send(key.clone()).await, StatusCode::OK);
        assert_eq!(send(key.clone()).await, StatusCode::OK);
        assert_eq!(send(key.clone()).await, StatusCode::TOO_MANY_REQUESTS);
    }
}

#[tokio::test(start_paused = true)]
async fn no_client_is_over_its_limit() {
    const CLIENTS: usize = 6;
    let period = SECOND * 2;
    let model = Model::new();
    let starts: [Starts; CLIENTS] = Default::default();
    for seed in 0..8 {
        let network = Network::new(&model, seed, Duration::from_millis(4), 10);
        let window = PerKeyLimiter::window(Quota::new(40, period));
        let limiter = window.in_store(network.process(WhenDown::Closed), "name".into());
        for (number, starts) in starts.iter().enumerate() {
            for _ in 0..3 {
                let (limiter, starts) = (limiter.clone(), starts.clone());
                tokio::spawn(async move {
                    loop {
                        let client = ClientKey::from(number as u64);
                        limiter.acquire(client, 1).await.unwrap();
                        starts.add(1);
                    }
                });
            }
        }
    }
    sleep(SECOND * 40).await;
    for starts in &starts {
        let (fullest, total) = (starts.fullest(period), starts.total());
        assert!(fullest <= 40, "{fullest}");
        assert!(total >= 40 * 20 * 96 / 100, "{total} of {}", 40 * 20);
    }
}

#[tokio::test(start_paused = true)]
async fn costs_are_settled_in_all_processes() {
    let network = network();
    let hour = || bucket(&network, Quota::per_hour(100));
    let (first, second) = (hour(), hour());
    // Ten of fifty are used, and then thirty more than ten.
    assert_eq!(send(&first, "ann", (50, 10)).await.0, StatusCode::OK);
    let (status, headers) = send(&first, "ann", (10, 40)).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        headers["ratelimit"].to_str().unwrap().split(';').nth(1),
        Some("r=50")
    );
    sleep(SECOND).await;
    assert_eq!(first.used(ann()), 50);
    assert_eq!(
        send(&second, "ann", (51, 0)).await.0,
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(send(&second, "ann", (50, 50)).await.0, StatusCode::OK);
    // Up to twice the limit.
    assert_eq!(send(&second, "bob", (1, 1_000)).await.0, StatusCode::OK);
    sleep(SECOND).await;
    let rejected = first
        .acquire_within("bob".into(), 1, NOW)
        .await
        .unwrap_err();
    let wait = rejected.retry_after().unwrap();
    assert!(wait > SECOND * 3_600 && wait < SECOND * 3_640, "{wait:?}");
    // What is refunded is there for the others.
    let permit = first.acquire("cyd".into(), 100).await.unwrap();
    permit.refund();
    sleep(SECOND / 4).await;
    assert!(second.acquire_within("cyd".into(), 100, NOW).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn joint_limits_are_taken_from_at_once() {
    let network = network();
    let joint = || {
        let bucket = PerKeyLimiter::new(Quota::per_second(10));
        let both = bucket.and("hour", SlidingWindowLayer::new(Quota::per_hour(15)));
        both.in_store(network.process(WhenDown::Local), "name".into())
    };
    let (first, second) = (joint(), joint());
    let (status, headers) = send(&first, "ann", (10, 10)).await;
    assert_eq!(status, StatusCode::OK);
    let headers: Vec<_> = headers.get_all("ratelimit").iter().collect();
    // A unit of a window counts for up to a 256th longer.
    assert_eq!(headers, [r#""default";r=0;t=1"#, r#""hour";r=5;t=3615"#]);
    let rejected = second.acquire_within(ann(), 1, NOW).await.unwrap_err();
    assert_eq!(
        (rejected.limit(), rejected.name()),
        (LimitKind::TokenBucket, Some("default"))
    );
    sleep(SECOND).await;
    let rejected = second.acquire_within(ann(), 6, NOW).await.unwrap_err();
    assert_eq!(
        (rejected.limit(), rejected.name()),
        (LimitKind::SlidingWindow, Some("hour"))
    );
    assert!(rejected.retry_after().unwrap() > SECOND * 3_590);
    let rejected = second.acquire_within(ann(), 11, NOW).await.unwrap_err();
    assert_eq!(
        rejected.reason(),
        Reason::ExceedsCapacity {
            cost: 11,
            capacity: 10
        }
    );
    assert!(second.acquire_within(ann(), 5, NOW).await.is_ok());
    assert_eq!(second.used(ann()), 15);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_to_wait_costs_no_call() {
    let network = network();
    let limiter = bucket(&network, Quota::per_minute(60).burst(3));
    for _ in 0..3 {
        assert_eq!(send(&limiter, "ann", (1, 1)).await.0, StatusCode::OK);
    }
    let (status, headers) = send(&limiter, "ann", (1, 1)).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(headers[RETRY_AFTER], "1");
    assert_eq!(headers["ratelimit"], r#""default";r=0;t=3"#);
    let (start, before) = (Instant::now(), takes(&network));
    for _ in 0..100 {
        assert_eq!(
            send(&limiter, "ann", (1, 1)).await.0,
            StatusCode::TOO_MANY_REQUESTS
        );
    }
    assert_eq!((takes(&network), start.elapsed()), (before, NOW));
    // Another client is not told so, and a client that obeys is admitted.
    assert_eq!(send(&limiter, "bob", (1, 1)).await.0, StatusCode::OK);
    sleep(SECOND).await;
    assert_eq!(send(&limiter, "ann", (1, 1)).await.0, StatusCode::OK);
}

#[tokio::test(start_paused = true)]
async fn headers_count_all_processes() {
    let network = network();
    let hour = || bucket(&network, Quota::per_hour(10));
    let (first, second) = (hour(), hour());
    for left in (0..10).rev() {
        let limiter = if left % 3 == 0 { &first } else { &second };
        let (status, headers) = send(limiter, "ann", (1, 1)).await;
        assert_eq!(status, StatusCode::OK);
        // What was granted ahead of need is back.
        sleep(SECOND).await;
        let fields = headers["ratelimit"].to_str().unwrap();
        assert_eq!(
            fields.split(';').nth(1),
            Some(&*format!("r={left}")),
            "{fields}"
        );
        assert_eq!(limiter.used(ann()), 10 - left);
        let usage = limiter.usage(ann());
        assert_eq!((usage.limit, usage.used, usage.waiting), (10, 10 - left, 0));
        assert_eq!(limiter.top(1)[0].used, 10 - left);
    }
}

#[tokio::test(start_paused = true)]
async fn usage_has_the_requests_that_wait() {
    let limiter = bucket(&network(), Quota::per_second(1).burst(2));
    limiter.acquire(ann(), 2).await.unwrap();
    let waiting = [(); 3].map(|()| {
        let limiter = limiter.clone();
        tokio::spawn(async move { limiter.acquire(ann(), 1).await })
    });
    sleep(SECOND / 10).await;
    assert_eq!(limiter.usage(ann()).waiting, 3);
    #[cfg(feature = "metrics")]
    {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        let publish = || metrics::Publish::publish(&limiter, "name");
        ::metrics::with_local_recorder(&recorder, publish);
        let line = "tower_throttle_waiting{layer=\"per_key\",name=\"name\"} 3";
        let text = recorder.handle().render();
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(limiter.usage(ClientKey::from("bob")).waiting, 0);
    for one in waiting {
        one.await.unwrap().unwrap();
    }
    assert_eq!(limiter.usage(ann()).waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn clients_come_and_go() {
    let network = network();
    let limiter = bucket(&network, Quota::per_second(5)).max_keys(10_000);
    let all = (0..10_000_u64).map(|client| limiter.acquire(client.into(), 1));
    let all = futures::future::join_all(all).await;
    assert!(all.iter().all(Result::is_ok));
    drop(all);
    assert_eq!(limiter.keys(), 10_000);
    // One more than there is room for.
    limiter.acquire(10_001.into(), 5).await.unwrap();
    assert_eq!(limiter.keys(), 10_000);
    // With the beats.
    sleep(SECOND * 10).await;
    assert_eq!(limiter.keys(), 0);
    assert_eq!(limiter.top(9), []);
}

#[tokio::test(start_paused = true)]
async fn new_clients_share_a_limit_if_there_is_no_room() {
    let network = network();
    let limiter = bucket(&network, Quota::per_minute(60)).max_keys(0);
    let all = (0..10_000_u64).map(|client| limiter.acquire_within(client.into(), 1, NOW));
    let all = futures::future::join_all(all).await;
    let admitted = all.iter().filter(|result| result.is_ok()).count();
    assert_eq!(admitted, 61 * 60, "60 of each part");
    assert_eq!(limiter.keys(), 0);
    // They wait in the queue of the shared limit.
    let waited = limiter.acquire_within(1.into(), 1, SECOND * 2).await;
    assert!(waited.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_waits_is_served_in_order() {
    let network = network();
    let limiter = bucket(&network, Quota::per_second(10).burst(1));
    let order = Arc::new(Mutex::new(Vec::new()));
    let start = Instant::now();
    let all = (0..5).map(async |number| {
        limiter.acquire_within(ann(), 1, SECOND).await.unwrap();
        order.lock().unwrap().push(number);
    });
    futures::future::join_all(all).await;
    assert_eq!(*order.lock().unwrap(), [0, 1, 2, 3, 4]);
    assert!(start.elapsed() < SECOND * 45 / 100, "{:?}", start.elapsed());
    let too_long = limiter
        .acquire_within(ann(), 1, Duration::from_millis(50))
        .await;
    assert!(too_long.unwrap_err().retry_after().is_some());
}

#[tokio::test(start_paused = true)]
async fn closing_rejects_all_clients() {
    let network = network();
    let (limiter, other) = (
        bucket(&network, Quota::per_hour(1)),
        bucket(&network, Quota::per_hour(1)),
    );
    limiter.acquire(ann(), 1).await.unwrap();
    let waiting = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.acquire(ann(), 1).await.map(drop) }
    });
    sleep(SECOND).await;
    limiter.close();
    let closed = |result: Result<(), crate::Rejected>| {
        assert_eq!(result.unwrap_err().reason(), Reason::Closed);
    };
    closed(waiting.await.unwrap());
    closed(limiter.acquire(ann(), 1).await.map(drop));
    closed(limiter.try_acquire("bob".into(), 1).map(drop));
    assert!(other.acquire_within("bob".into(), 1, NOW).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_shadow_counts_and_does_not_wait() {
    let network = network();
    let limiter = bucket(&network, Quota::per_minute(60).burst(5));
    limiter.set_shadow(true);
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!(send(&limiter, "ann", (1, 1)).await.0, StatusCode::OK);
        sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(start.elapsed(), Duration::from_millis(200));
    let rejections = limiter.rejections();
    assert!((12..=16).contains(&rejections), "{rejections} of 20");
    // Other processes see what it has let pass.
    let other = bucket(&network, Quota::per_minute(60).burst(5));
    assert!(other.acquire_within(ann(), 1, NOW).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn policies_apply_to_clients() {
    for when_down in [WhenDown::Closed, WhenDown::Open, WhenDown::Local] {
        let network = network();
        let limiters = [(), ()].map(|()| {
            let limiter = PerKeyLimiter::window(Quota::per_minute(10));
            limiter.in_store(network.process(when_down), "name".into())
        });
        for limiter in &limiters {
            limiter.acquire("bob".into(), 1).await.unwrap();
        }
        sleep(SECOND * 2).await;
        network.faults.is_refused.store(true, Ordering::Relaxed);
        sleep(SECOND).await;
        let mut admitted = 0;
        for _ in 0..20 {
            match limiters[0].acquire_within(ann(), 1, NOW).await {
                Ok(_) => admitted += 1,
                Err(rejected) if when_down == WhenDown::Closed => {
                    assert_eq!(rejected.reason(), Reason::Unreachable);
                }
                Err(rejected) => assert!(rejected.retry_after().is_some()),
            }
        }
        let expected = match when_down {
            WhenDown::Closed => 0,
            WhenDown::Open => 20,
            WhenDown::Local => 5,
        };
        assert_eq!(admitted, expected, "{when_down:?}");
        // It is reported with the client's next call when the store is back.
        network.faults.is_refused.store(false, Ordering::Relaxed);
        sleep(SECOND * 3).await;
        let _next = limiters[0].acquire_within(ann(), 1, NOW).await;
        let left = limiters[1].acquire_within(ann(), 6, NOW).await;
        assert_eq!(left.is_ok(), expected == 0, "{when_down:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn clients_have_limits_of_their_own() {
    let network = network();
    let layer = |network: &Network| {
        let limiter = bucket(network, Quota::per_hour(1));
        PerKeyLayer::new(limiter, key::Header::new("x-client")).limits_for(|request| {
            let is_pro = request.headers().contains_key("x-pro");
            Quota::per_hour(if is_pro { 5 } else { 1 })
        })
    };
    let layers = [layer(&network), layer(&network)];
    let send = async |number: usize, client: &str, is_pro: bool| {
        let service = layers[number]
            .clone()
            .layer(service_fn(async |_: Request<()>| Ok::<_, BoxError>(())));
        let mut request = Request::get("/").header("x-client", client);
        if is_pro {
            request = request.header("x-pro", "1");
        }
        service.oneshot(request.body(()).unwrap()).await.is_ok()
    };
    for number in [0, 1, 0, 1, 0] {
        assert!(send(number, "pro", true).await);
    }
    assert!(!send(1, "pro", true).await);
    assert!(send(0, "ann", false).await && !send(1, "ann", false).await);
    // What was used stays used with other limits.
    sleep(SECOND).await;
    assert!(send(1, "ann", true).await && send(0, "ann", true).await);
    for layer in &layers {
        layer.limiter().set_limits(Quota::per_hour(3));
        assert_eq!(layer.limiter().limits(), Quota::per_hour(3));
    }
    let (first, second) = (layers[0].limiter(), layers[1].limiter());
    assert!(first.acquire_within("bob".into(), 1, NOW).await.is_ok());
    assert!(second.acquire_within("bob".into(), 2, NOW).await.is_ok());
    assert!(second.acquire_within("bob".into(), 1, NOW).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn leaving_returns_the_units_of_all_clients() {
    let model = Model::new();
    let network = Network::new(&model, 1, Duration::from_millis(1), 0);
    let store = network.process(WhenDown::Local);
    let limiter = PerKeyLimiter::new(Quota::per_hour(1_000)).in_store(store.clone(), "name".into());
    let other = bucket(&network, Quota::per_hour(1_000));
    for client in 0..20_u64 {
        for _ in 0..10 {
            limiter.acquire(client.into(), 1).await.unwrap();
        }
    }
    store.leave().await;
    for client in 0..20_u64 {
        assert!(other.acquire_within(client.into(), 990, NOW).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn settings_keep_a_limit_shared() {
    let network = network();
    let limiter = TokenBucketLimiter::new(Quota::per_hour(9));
    let shared = TokenBucketLayer::from(limiter.in_store(network.process(WhenDown::Local), "name"));
    let is_shared = async |limiter: &PerKeyLimiter| {
        let before = takes(&network);
        limiter.acquire(ann(), 1).await.unwrap();
        takes(&network) > before
    };
    let layer = shared.per(key::Global);
    assert!(is_shared(layer.limiter()).await);
    assert!(is_shared(layer.max_keys(9).limiter()).await);
    let joint = bucket(&network, Quota::per_hour(9))
        .and("hour", SlidingWindowLayer::new(Quota::per_hour(9)));
    let before = takes(&network);
    joint.acquire(ann(), 1).await.unwrap();
    assert!(takes(&network) > before);
}

#[tokio::test(start_paused = true)]
#[should_panic = "cannot be shared"]
async fn a_shared_concurrency_limit_is_not_per_client() {
    let limiter = ConcurrencyLimiter::new(9);
    let limiter = limiter.in_store(network().process(WhenDown::Local), "name");
    let _layer = ConcurrencyLayer::from(limiter).per(key::Global);
}

#[tokio::test(start_paused = true)]
async fn a_request_costs_a_call_at_most() {
    let network = network();
    let limiters = [(); 4].map(|()| bucket(&network, Quota::new(4, SECOND * 8)));
    let (mut admitted, all) = (0, 64);
    for (_, limiter) in (0..all).zip(limiters.iter().cycle()) {
        let taken = limiter.acquire_within(ann(), 1, NOW).await;
        admitted += u32::from(taken.is_ok());
        sleep(SECOND * 6 / 10).await;
    }
    // A unit that comes back between two requests is late by up to the time between them.
    assert!((21..=24).contains(&admitted), "{admitted}");
    assert!(network.calls() <= all, "{} calls", network.calls());
}

#[tokio::test(start_paused = true)]
async fn new_clients_share_the_same_limit_in_all_processes() {
    let network = network();
    let limiter = || bucket(&network, Quota::per_hour(6)).max_keys(0);
    let processes = [limiter(), limiter(), limiter()];
    let mut admitted = 0;
    for number in 0..30 {
        let limiter = &processes[number % 3];
        admitted += u64::from(limiter.acquire_within(ann(), 1, NOW).await.is_ok());
        // What was granted ahead of need is back.
        sleep(SECOND).await;
    }
    assert_eq!(admitted, 6);
}

/// Looks at a limiter when it is woken.
struct Looks {
    limiter: PerKeyLimiter,
    has_seen: AtomicBool,
}

impl Wake for Looks {
    fn wake(self: Arc<Self>) {
        let (seen, sees) = mpsc::channel();
        let limiter = self.limiter.clone();
        thread::spawn(move || seen.send(limiter.used(ann())));
        let has_seen = sees.recv_timeout(SECOND * 5).is_ok();
        self.has_seen.store(has_seen, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn new_limits_wake_the_queue_under_no_lock() {
    let network = network();
    let limiter = bucket(&network, Quota::per_hour(1));
    let layer =
        PerKeyLayer::new(limiter.clone(), key::Header::new("x-client")).limits_for(|request| {
            Quota::per_hour(1 + u64::from(request.headers().contains_key("x-pro")))
        });
    let service = layer.layer(service_fn(async |_: Request<()>| Ok::<_, BoxError>(())));
    let send = |is_pro: bool| {
        let mut request = Request::get("/").header("x-client", "ann");
        if is_pro {
            request = request.header("x-pro", "1");
        }
        service.clone().oneshot(request.body(()).unwrap())
    };
    send(false).await.unwrap();
    let looks = Arc::new(Looks {
        limiter,
        has_seen: AtomicBool::new(false),
    });
    let waker = looks.clone().into();
    let mut waiting = pin!(send(false));
    let polled = waiting.as_mut().poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending());
    let mut other = pin!(send(true));
    let _pending = other.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(looks.has_seen.load(Ordering::Relaxed));
}
