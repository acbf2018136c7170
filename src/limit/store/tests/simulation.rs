//! Never over the limit at any offset, and nothing is lost.

use tokio::{task::JoinSet, time::timeout};

use super::*;
use crate::limit::{Quota, sliding_window::SlidingWindowLimiter, token_bucket::TokenBucketLimiter};

const SECOND: Duration = Duration::from_secs(1);

/// What happens beside the load.
#[derive(Debug, Clone, Copy, Default)]
struct Case {
    lost: u32,
    /// Requests give up at random times.
    drops: bool,
    /// The costs are up to this.
    cost: u64,
    /// After so long the store forgets all, and again.
    forgets: Option<Duration>,
}

/// Runs `workers` of eight processes for `time`, with costs of 1 and more.
async fn run<L: Clone + Send + 'static>(
    seed: u64,
    time: Duration,
    workers: usize,
    case: Case,
    limiter: impl Fn(Arc<Handle>) -> L,
    acquire: impl AsyncAcquire<L>,
) -> (Starts, u64) {
    let model = Model::new();
    let (starts, mut tasks, mut networks) = (Starts::default(), JoinSet::new(), Vec::new());
    for process in 0..8 {
        let latency = Duration::from_millis(2);
        let network = Network::new(&model, seed * 8 + process, latency, case.lost);
        // Too many calls that are lost in a row are as if the store were down.
        let when_down = match case.lost {
            0 => WhenDown::Local,
            _ => WhenDown::Closed,
        };
        let limiter = limiter(network.process(when_down));
        networks.push(network);
        for worker in 0..workers {
            let (limiter, starts) = (limiter.clone(), starts.clone());
            let worker = u64::try_from(worker).unwrap();
            let mut random = StdRng::seed_from_u64(seed * 1_000 + process * 100 + worker);
            tasks.spawn(async move {
                loop {
                    let cost = random.random_range(1..=case.cost.max(1));
                    let acquiring = acquire.acquire(&limiter, cost);
                    let patience = match case.drops {
                        true => Duration::from_micros(random.random_range(0..200_000)),
                        false => Duration::MAX,
                    };
                    if timeout(patience, acquiring).await.is_ok() {
                        starts.add(cost);
                    }
                    if random.random_range(0..20) == 0 {
                        sleep(Duration::from_millis(random.random_range(0..30))).await;
                    }
                }
            });
        }
    }
    let end = Instant::now() + time;
    while let Some(forgets) = case
        .forgets
        .filter(|forgets| Instant::now() + *forgets < end)
    {
        sleep(forgets).await;
        model.forget();
    }
    tokio::time::sleep_until(end).await;
    drop(tasks);
    let takes = |network: &Network| network.faults.takes.load(Ordering::Relaxed);
    (starts, networks.iter().map(takes).sum())
}

trait AsyncAcquire<L>: Copy + Send + Sync + 'static {
    fn acquire(self, limiter: &L, cost: u64) -> impl Future<Output = ()> + Send;
}

#[derive(Clone, Copy)]
struct Acquire;

impl AsyncAcquire<SlidingWindowLimiter> for Acquire {
    async fn acquire(self, limiter: &SlidingWindowLimiter, cost: u64) {
        limiter.acquire(cost).await.unwrap();
    }
}

impl AsyncAcquire<TokenBucketLimiter> for Acquire {
    async fn acquire(self, limiter: &TokenBucketLimiter, cost: u64) {
        limiter.acquire(cost).await.unwrap();
    }
}

async fn window(seed: u64, units: u64, period: Duration, case: Case) -> (Starts, u64) {
    let quota = Quota::new(units, period);
    let limiter = |store| SlidingWindowLimiter::new(quota).in_store(store, "window");
    run(seed, period * 10, 12, case, limiter, Acquire).await
}

async fn bucket(seed: u64, quota: Quota, case: Case) -> (Starts, u64) {
    let limiter = |store| TokenBucketLimiter::new(quota).in_store(store, "bucket");
    run(seed, SECOND * 10, 12, case, limiter, Acquire).await
}

#[tokio::test(start_paused = true)]
async fn a_window_is_never_over_and_used() {
    for (seed, units, period) in [(1, 200, SECOND), (2, 500, SECOND * 5), (3, 5_000, SECOND)] {
        let (starts, takes) = window(seed, units, period, Case::default()).await;
        let (fullest, used) = (starts.fullest(period), starts.total() * 100 / (units * 10));
        println!("{units} in {period:?}: fullest {fullest}, used {used} %, {takes} takes");
        assert!(fullest <= units, "{fullest} of {units}");
        assert!(used >= 98, "{used} %");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_is_never_over_with_faults() {
    let case = Case {
        lost: 20,
        drops: true,
        cost: 10,
        ..Case::default()
    };
    for seed in 0..2 {
        let (starts, _) = window(seed, 1_000, SECOND, case).await;
        let (fullest, used) = (starts.fullest(SECOND), starts.total() / 100);
        println!("fullest {fullest}, used {used} %");
        assert!(fullest <= 1_000, "{fullest}");
        assert!(used >= 80, "{used} %");
    }
}

#[tokio::test(start_paused = true)]
async fn a_window_is_never_over_if_the_store_forgets() {
    let case = Case {
        forgets: Some(SECOND * 6),
        ..Case::default()
    };
    for seed in 0..2 {
        let (starts, _) = window(seed, 300, SECOND * 2, case).await;
        let fullest = starts.fullest(SECOND * 2);
        println!("fullest {fullest}, started {}", starts.total());
        assert!(fullest <= 300, "{fullest}");
        assert!(starts.total() >= 1_800, "{}", starts.total());
    }
}

#[tokio::test(start_paused = true)]
async fn a_bucket_is_never_over_and_used() {
    for (seed, rate, burst) in [(1, 1_000, 20), (2, 5_000, 500), (3, 500, 1)] {
        let quota = Quota::per_second(rate).burst(burst);
        let (starts, takes) = bucket(seed, quota, Case::default()).await;
        let unit = SECOND / u32::try_from(rate).unwrap();
        let (most, used) = (
            starts.burst(unit),
            starts.total() * 100 / (rate * 10 + burst),
        );
        println!("{rate} per second: burst {most}, used {used} %, {takes} takes");
        // The hold is at least 10 ms, and 10 ms of lateness.
        assert!(most <= burst + rate / 50 + 1, "{most}");
        assert!(used >= 98, "{used} %");
    }
}
