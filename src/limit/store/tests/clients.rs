//! Limits of single clients, of which there may be many.

use super::{joint::Joint, *};
use crate::limit::{
    Quota,
    store::{
        call::{LimitSpec, StateKey},
        link::Link,
    },
};

const SECOND: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(2);

fn client(network: &Network, number: u8, limits: &[LimitSpec]) -> Joint {
    let key = StateKey {
        name: "clients".into(),
        client: Some([number; 16]),
    };
    Joint::of(network.process(WhenDown::Local), key, limits)
}

fn takes(network: &Network) -> u64 {
    network.faults.takes.load(Ordering::Relaxed)
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_to_wait_costs_no_call() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [
        LimitSpec::bucket(&Quota::per_minute(6).burst(3)),
        LimitSpec::window(&Quota::per_hour(100)),
    ];
    let client = client(&network, 1, &limits);
    for _ in 0..3 {
        client.acquire(&[1, 1]).await;
    }
    let now = Duration::ZERO;
    assert!(client.acquire_within(&[1, 1], now).await.is_err());
    let before = takes(&network);
    for _ in 0..900 {
        sleep(SECOND / 100).await;
        let rejected = client.acquire_within(&[1, 1], now).await.unwrap_err();
        assert!(rejected.retry_after() <= Some(SECOND * 10));
    }
    assert_eq!(takes(&network), before);
    sleep(SECOND).await;
    let marks = client.acquire_within(&[1, 1], now).await.unwrap();
    assert!(client.acquire_within(&[1, 1], now).await.is_err());
    // What was given back may be enough.
    client.link.refund(&marks);
    sleep(SECOND / 10).await;
    let _asks = client.acquire_within(&[1, 1], now).await;
    sleep(SECOND / 10).await;
    assert!(client.acquire_within(&[1, 1], now).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_client_has_one_limit_in_all_processes() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [LimitSpec::window(&Quota::new(20, SECOND))];
    let starts = Starts::default();
    for process in 0..4 {
        for number in [1, 2] {
            let client = client(&network, number, &limits);
            let starts = starts.clone();
            tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(process);
                loop {
                    client.acquire(&[1]).await;
                    if number == 1 {
                        starts.add(1);
                    }
                    sleep(Duration::from_millis(random.random_range(0..20))).await;
                }
            });
        }
    }
    sleep(SECOND * 20).await;
    let (fullest, total) = (starts.fullest(SECOND), starts.total());
    println!("fullest {fullest}, {total} of 400");
    assert!(fullest <= 20 && total >= 380, "{fullest}, {total}");
}

#[tokio::test(start_paused = true)]
async fn a_client_is_idle_after_its_period() {
    println!("a link has {} bytes", size_of::<Link>());
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [LimitSpec::window(&Quota::new(20, SECOND * 10))];
    let client = client(&network, 1, &limits);
    assert!(client.link.is_idle());
    client.acquire(&[20]).await;
    assert!(!client.link.is_idle());
    sleep(SECOND * 10 + SECOND / 10).await;
    assert!(client.link.is_idle());
    client.link.pause(SECOND * 15);
    sleep(SECOND).await;
    assert!(!client.link.is_idle());
    sleep(SECOND * 15).await;
    assert!(client.link.is_idle());
    client.link.charge(None, &[5]);
    assert!(!client.link.is_idle());
    sleep(SECOND).await;
    assert!(client.link.is_idle());
    assert_eq!(Arc::strong_count(&client.link), 1);
}

#[tokio::test(start_paused = true)]
async fn a_client_reports_what_it_took_alone() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [LimitSpec::window(&Quota::new(100, SECOND * 60))];
    let [first, second] = [(); 2].map(|()| client(&network, 1, &limits));
    let now = Duration::ZERO;
    first.acquire(&[10]).await;
    assert!(second.acquire_within(&[1], now).await.is_ok());
    sleep(SECOND).await;
    network.faults.is_refused.store(true, Ordering::Relaxed);
    first.acquire(&[30]).await;
    // More than its half.
    assert!(first.acquire_within(&[30], now).await.is_err());
    assert!(!first.link.is_idle());
    network.faults.is_refused.store(false, Ordering::Relaxed);
    sleep(SECOND * 2).await;
    // With the next call.
    assert!(first.acquire_within(&[1], now).await.is_ok());
    assert!(second.acquire_within(&[59], now).await.is_err());
    assert!(second.acquire_within(&[58], now).await.is_ok());
    // If the store never comes back, it is idle once that makes no difference.
    network.faults.is_refused.store(true, Ordering::Relaxed);
    sleep(SECOND).await;
    let _unknown = first.acquire_within(&[1], now).await;
    first.link.charge(None, &[1]);
    sleep(SECOND * 61).await;
    assert!(!first.link.is_idle());
    network.faults.is_refused.store(false, Ordering::Relaxed);
    sleep(SECOND * 62).await;
    assert!(first.link.is_idle());
}

#[tokio::test(start_paused = true)]
async fn limits_of_a_client_travel_in_each_call() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [LimitSpec::window(&Quota::new(10, SECOND * 60))];
    let client = client(&network, 1, &limits);
    client.acquire(&[10]).await;
    client
        .link
        .set_limits(&[LimitSpec::window(&Quota::new(30, SECOND * 60))].into());
    client.acquire(&[15]).await;
    let rejected = client.acquire_within(&[6], Duration::ZERO).await;
    assert!(rejected.is_err());
    assert_eq!(client.link.usage().unwrap().used[0].units, 25);
}

#[tokio::test(start_paused = true)]
async fn outages_give_a_client_one_share() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let hour = |units| [LimitSpec::window(&Quota::per_hour(units))];
    let client = client(&network, 1, &hour(60));
    client.acquire(&[1]).await;
    let mut admitted = 1;
    for outage in 0..6 {
        network.faults.is_refused.store(true, Ordering::Relaxed);
        sleep(SECOND).await;
        // Neither does another plan of the same client.
        client.link.set_limits(&hour(60 - outage).into());
        while client.acquire_within(&[1], Duration::ZERO).await.is_ok() {
            admitted += 1;
        }
        network.faults.is_refused.store(false, Ordering::Relaxed);
        sleep(SECOND * 2).await;
    }
    // What the store granted before it was away is not known any more.
    assert_eq!(admitted, 61);
}

#[tokio::test(start_paused = true)]
async fn a_smaller_limit_of_a_client_costs_no_call() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let hour = |units| [LimitSpec::window(&Quota::per_hour(units))];
    let client = client(&network, 1, &hour(60));
    client.acquire(&[60]).await;
    assert!(client.acquire_within(&[1], Duration::ZERO).await.is_err());
    let before = takes(&network);
    for units in (1..60).rev() {
        client.link.set_limits(&hour(units).into());
        sleep(SECOND / 10).await;
        assert!(client.acquire_within(&[1], Duration::ZERO).await.is_err());
    }
    assert_eq!(takes(&network), before);
}

#[tokio::test(start_paused = true)]
async fn a_large_request_of_a_client_keeps_its_claim() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [LimitSpec::window(&Quota::new(100, SECOND * 20))];
    let [first, second] = [client(&network, 1, &limits), client(&network, 1, &limits)];
    // They leave one after the other.
    for _ in 0..9 {
        second.acquire(&[10]).await;
        sleep(SECOND).await;
    }
    let start = Instant::now();
    let large = tokio::spawn(async move { first.acquire(&[50]).await });
    while !large.is_finished() && start.elapsed() < SECOND * 60 {
        // Another process each time, which was not told to wait.
        let small = client(&network, 1, &limits);
        let _rejected = small.acquire_within(&[1], Duration::ZERO).await;
        sleep(SECOND / 20).await;
    }
    // Once four of the nine have left.
    assert!(start.elapsed() < SECOND * 16, "{:?}", start.elapsed());
}

/// Calls arrive late, also if nobody waits for them any more.
#[derive(Debug, Clone)]
struct Late {
    model: Model,
    by: Arc<Mutex<Duration>>,
}

impl Store for Late {
    fn call(&self, call: Call) -> CallFuture {
        let (model, by) = (self.model.clone(), *self.by.lock().unwrap());
        let arrived = tokio::spawn(async move {
            sleep(by).await;
            model.call(call).await
        });
        Box::pin(async move { arrived.await.unwrap() })
    }
}

#[tokio::test(start_paused = true)]
async fn a_late_first_call_of_a_client_takes_nothing() {
    let store = Late {
        model: Model::new(),
        by: Arc::default(),
    };
    let handle = || Handle::new(Arc::new(store.clone()), StoreSettings::default());
    let of = |handle: &Arc<Handle>, number| {
        let key = StateKey {
            name: "clients".into(),
            client: Some([number; 16]),
        };
        let limits = [LimitSpec::window(&Quota::per_hour(10))];
        Joint::of(handle.clone(), key, &limits)
    };
    let first = handle();
    of(&first, 1).acquire(&[1]).await;
    *store.by.lock().unwrap() = SECOND;
    let late = of(&first, 2);
    assert!(late.acquire_within(&[10], Duration::ZERO).await.is_err());
    *store.by.lock().unwrap() = Duration::ZERO;
    sleep(SECOND * 2).await;
    let other = of(&handle(), 2);
    assert!(other.acquire_within(&[10], Duration::ZERO).await.is_ok());
}
