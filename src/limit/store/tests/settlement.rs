//! Units that are given back, or charged, once it is known what a request has used.

use tokio::task::JoinSet;

use super::{joint::Joint, *};
use crate::limit::{Quota, algorithm::Mark, store::call::LimitSpec};

const SECOND: Duration = Duration::from_secs(1);
const LATENCY: Duration = Duration::from_millis(2);
const PERIOD: Duration = Duration::from_secs(5);

/// Of reserved 100 units each of eight processes uses 10 or 190 for 30 s. Returns what was reserved
/// and used, and all that was used.
async fn run(seed: u64, lost: u32, limit: LimitSpec) -> [Starts; 2] {
    let (model, starts) = (Model::new(), <[Starts; 2]>::default());
    let requests = LimitSpec::window(&Quota::per_second(1_000));
    let mut tasks = JoinSet::new();
    for process in 0..8 {
        let network = Network::new(&model, seed * 8 + process, LATENCY, lost);
        let limiter = Joint::new(network.process(WhenDown::Closed), &[requests, limit]);
        for worker in 0..8 {
            let (limiter, starts) = (limiter.clone(), starts.clone());
            let mut random = StdRng::seed_from_u64(seed * 1_000 + process * 100 + worker);
            tasks.spawn(async move {
                loop {
                    let marks = limiter.acquire(&[1, 100]).await;
                    let used = if random.random_bool(0.5) { 10 } else { 190 };
                    starts[0].add(used.min(100));
                    starts[1].add(used);
                    sleep(Duration::from_millis(random.random_range(5..50))).await;
                    match used {
                        10 => limiter.link.refund(&[
                            Mark::default(),
                            Mark {
                                cost: 90,
                                ..marks[1]
                            },
                        ]),
                        _ => limiter.link.charge(Some(&marks), &[0, 90]),
                    }
                }
            });
        }
    }
    sleep(SECOND * 30).await;
    starts
}

#[tokio::test(start_paused = true)]
async fn settled_windows_are_never_over_and_used() {
    let limit = LimitSpec::window(&Quota::new(50_000, PERIOD));
    for (seed, lost) in [(1, 0), (2, 10)] {
        let [reserved, used] = run(seed, lost, limit).await;
        let fullest = (reserved.fullest(PERIOD), used.fullest(PERIOD));
        let share = used.total() * 100 / 300_000;
        println!("lost {lost}: fullest {fullest:?}, used {share} %");
        assert!(fullest.0 <= 50_000, "{fullest:?}");
        // Beside what was charged after others had started.
        assert!(fullest.1 <= 51_500, "{fullest:?}");
        assert!(share >= 95, "{share} %");
    }
}

#[tokio::test(start_paused = true)]
async fn settled_buckets_are_never_over_and_used() {
    let limit = LimitSpec::bucket(&Quota::per_second(10_000).burst(5_000));
    for (seed, lost) in [(1, 0), (2, 10)] {
        let [_, used] = run(seed, lost, limit).await;
        let (burst, share) = (
            used.burst(SECOND / 10_000),
            used.total() * 100 / (300_000 + 5_000),
        );
        println!("lost {lost}: burst {burst}, used {share} %");
        // 20 ms of a hold and of lateness, and what was charged after others had started.
        assert!(burst <= 5_000 + 200 + 1_800, "{burst}");
        assert!(share >= 95, "{share} %");
    }
}

/// Returns the units of tokens by the last reply.
async fn used(limiter: &Joint) -> u64 {
    sleep(SECOND / 5).await;
    limiter.link.usage().unwrap().used[1].units
}

#[tokio::test(start_paused = true)]
async fn a_charge_counts_since_its_mark() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [Quota::per_minute(100), Quota::new(1_000, SECOND * 10)];
    let limits = limits.map(|quota| LimitSpec::window(&quota));
    let limiter = Joint::new(network.process(WhenDown::Local), &limits);
    let marks = limiter.acquire(&[1, 100]).await;
    sleep(SECOND * 8).await;
    limiter.link.charge(Some(&marks), &[0, 300]);
    assert_eq!(used(&limiter).await, 400);
    limiter.link.charge(None, &[0, 50]);
    assert_eq!(used(&limiter).await, 450);
    sleep(SECOND * 2).await;
    // The mark's have left, and the others have not.
    limiter.link.refund(&[marks[0], Mark::default()]);
    assert_eq!(used(&limiter).await, 50);
    assert_eq!(limiter.link.usage().unwrap().used[0].units, 0);
}

#[tokio::test(start_paused = true)]
async fn a_loss_does_not_undo_a_settlement() {
    let model = Model::new();
    let network = Network::new(&model, 1, LATENCY, 0);
    let limits = [Quota::per_minute(100), Quota::per_minute(1_000)];
    let limits = limits.map(|quota| LimitSpec::window(&quota));
    let limiter = Joint::new(network.process(WhenDown::Local), &limits);
    let marks = limiter.acquire(&[1, 300]).await;
    let back = Mark {
        cost: 200,
        ..marks[1]
    };
    limiter.link.refund(&[Mark::default(), back]);
    limiter.link.charge(Some(&marks), &[0, 450]);
    assert_eq!(used(&limiter).await, 550);
    model.forget();
    sleep(SECOND * 4).await;
    assert_eq!(used(&limiter).await, 550);
}

#[tokio::test(start_paused = true)]
async fn what_others_use_is_charged_once_in_the_end() {
    for seed in 0..20 {
        let network = Network::new(&Model::new(), seed, LATENCY, 300);
        let limits = [Quota::per_hour(100), Quota::per_hour(1_000)];
        let limits = limits.map(|quota| LimitSpec::window(&quota));
        let limiter = Joint::new(network.process(WhenDown::Closed), &limits);
        let marks = limiter.acquire(&[1, 100]).await;
        // What comes back with a call whose reply was lost is not in the next one.
        limiter.link.refund(&[Mark::default(), marks[1]]);
        limiter.link.raise(1, Some(&marks[1]), 700);
        sleep(SECOND * 20).await;
        assert_eq!(used(&limiter).await, 700, "{seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_others_use_is_charged_after_a_loss() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limits = [Quota::per_minute(100), Quota::per_minute(1_000)];
    let limits = limits.map(|quota| LimitSpec::window(&quota));
    let limiter = Joint::new(network.process(WhenDown::Local), &limits);
    limiter.acquire(&[1, 100]).await;
    sleep(SECOND).await;
    network.model.forget();
    limiter.link.raise(1, None, 700);
    sleep(SECOND * 4).await;
    assert_eq!(used(&limiter).await, 700);
}

#[tokio::test(start_paused = true)]
async fn settlement_without_the_store_is_told_later() {
    for policy in [WhenDown::Local, WhenDown::Open] {
        let network = Network::new(&Model::new(), 1, LATENCY, 0);
        let limits = [Quota::per_minute(100), Quota::per_minute(1_000)];
        let limits = limits.map(|quota| LimitSpec::window(&quota));
        let limiter = Joint::new(network.process(policy), &limits);
        limiter.acquire(&[1, 100]).await;
        sleep(SECOND).await;
        network.faults.is_refused.store(true, Ordering::Relaxed);
        let marks = limiter.acquire(&[1, 850]).await;
        let full = limiter.acquire_within(&[1, 100], Duration::ZERO).await;
        assert_eq!(full.is_ok(), policy == WhenDown::Open);
        if policy == WhenDown::Local {
            let back = Mark {
                cost: 750,
                ..marks[1]
            };
            limiter.link.refund(&[Mark::default(), back]);
            limiter.acquire(&[1, 600]).await;
            limiter.link.charge(Some(&marks), &[0, 150]);
            let full = limiter.acquire_within(&[1, 100], Duration::ZERO).await;
            assert!(full.is_err());
        }
        network.faults.is_refused.store(false, Ordering::Relaxed);
        sleep(SECOND * 3).await;
        let used = used(&limiter).await;
        match policy {
            WhenDown::Local => assert_eq!(used, 100 + 850 - 750 + 600 + 150),
            _ => assert!(used >= 1_000, "{used}"),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_dropped_leave_loses_no_charge() {
    let network = Network::new(&Model::new(), 1, LATENCY * 10, 0);
    let limits = [Quota::per_minute(100), Quota::per_minute(1_000)];
    let limits = limits.map(|quota| LimitSpec::window(&quota));
    let handle = network.process(WhenDown::Local);
    let limiter = Joint::new(handle.clone(), &limits);
    let marks = limiter.acquire(&[1, 100]).await;
    sleep(SECOND).await;
    limiter.link.charge(Some(&marks), &[0, 300]);
    let leaving = tokio::time::timeout(LATENCY / 2, handle.leave()).await;
    assert!(leaving.is_err());
    sleep(SECOND).await;
    let other = Joint::new(network.process(WhenDown::Local), &limits);
    other.acquire(&[1, 1]).await;
    assert_eq!(used(&other).await, 401);
}
