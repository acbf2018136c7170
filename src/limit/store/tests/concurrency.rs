//! Slots of several processes.

use std::sync::atomic::AtomicUsize;

use tokio::task::JoinSet;

use super::*;
use crate::limit::concurrency::ConcurrencyLimiter;

const LATENCY: Duration = Duration::from_millis(2);
const SECOND: Duration = Duration::from_secs(1);

fn slots(network: &Network, limit: usize) -> ConcurrencyLimiter {
    ConcurrencyLimiter::new(limit).in_store(network.process(WhenDown::Local), "name")
}

/// Takes slots until there are none, and returns the permits.
async fn take_all(limiter: &ConcurrencyLimiter) -> Vec<crate::limit::concurrency::Permit> {
    let mut permits = Vec::new();
    while let Ok(permit) = limiter.acquire_within(SECOND).await {
        permits.push(permit);
    }
    permits
}

#[tokio::test(start_paused = true)]
async fn all_processes_together_keep_to_the_limit() {
    for (seed, lost) in [(1, 0), (2, 20)] {
        let model = Model::new();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let served: Vec<Arc<AtomicUsize>> = (0..4).map(|_| Arc::default()).collect();
        let mut tasks = JoinSet::new();
        for (process, served) in served.iter().enumerate() {
            let network = Network::new(&model, seed * 10 + process as u64, LATENCY, lost);
            let limiter = slots(&network, 20);
            for worker in 0..20 {
                let (limiter, served) = (limiter.clone(), served.clone());
                let (now, most) = (now.clone(), most.clone());
                let mut random = StdRng::seed_from_u64(seed + worker);
                tasks.spawn(async move {
                    loop {
                        let permit = limiter.acquire().await.unwrap();
                        most.fetch_max(now.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed);
                        sleep(Duration::from_millis(random.random_range(1..200))).await;
                        now.fetch_sub(1, Ordering::Relaxed);
                        served.fetch_add(1, Ordering::Relaxed);
                        drop(permit);
                    }
                });
            }
        }
        sleep(SECOND * 30).await;
        let served: Vec<_> = served.iter().map(|it| it.load(Ordering::Relaxed)).collect();
        println!("most {}, served {served:?}", most.load(Ordering::Relaxed));
        assert!(most.load(Ordering::Relaxed) <= 20, "{most:?}");
        // 20 slots, 100 ms each, for 30 s; and equal shares.
        assert!(served.iter().sum::<usize>() >= 5_400, "{served:?}");
        assert!(served.iter().all(|served| *served >= 1_000), "{served:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_freed_slot_reaches_another_process_soon() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let (first, second) = (slots(&network, 5), slots(&network, 5));
    let mut held = take_all(&first).await;
    assert_eq!(held.len(), 5);
    let waiting = tokio::spawn(async move {
        let permit = second.acquire().await;
        (permit, Instant::now())
    });
    // The holder hears of it with its next renewal.
    sleep(SECOND).await;
    let freed = Instant::now();
    held.pop();
    let (permit, got) = waiting.await.unwrap();
    assert!(permit.is_ok());
    assert!(
        got - freed <= Duration::from_millis(110),
        "{:?}",
        got - freed
    );
}

#[tokio::test(start_paused = true)]
async fn slots_of_a_process_that_is_gone_return() {
    let model = Model::new();
    let (gone, network) = (
        Network::new(&model, 1, LATENCY, 0),
        Network::new(&model, 2, LATENCY, 0),
    );
    let (first, second) = (slots(&gone, 50), slots(&network, 50));
    assert_eq!(take_all(&first).await.len(), 50);
    // No call of it arrives from here on.
    gone.faults.is_silent.store(true, Ordering::Relaxed);
    let start = Instant::now();
    let _permit = second.acquire().await.unwrap();
    assert!(start.elapsed() <= SECOND * 11, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_full_limit_is_told_without_waiting() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let (first, second) = (slots(&network, 5), slots(&network, 5));
    let permits = take_all(&first).await;
    for _ in 0..20 {
        let start = Instant::now();
        assert!(second.acquire_within(Duration::ZERO).await.is_err());
        assert!(start.elapsed() <= LATENCY * 2, "{:?}", start.elapsed());
    }
    drop(permits);
    // The first has to hear that another waits, and the second asks again meanwhile.
    let waiting = second.acquire_within(SECOND * 2).await;
    assert!(waiting.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_rejects_at_once() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let rejected = slots(&network, 0).acquire().await.unwrap_err();
    assert!(rejected.exceeds_capacity());
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_alone_has_its_share() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let (first, second) = (slots(&network, 10), slots(&network, 10));
    drop((
        first.acquire().await.unwrap(),
        second.acquire().await.unwrap(),
    ));
    sleep(SECOND).await;
    network.faults.is_refused.store(true, Ordering::Relaxed);
    sleep(SECOND * 2).await;
    let permits = (take_all(&first).await, take_all(&second).await);
    assert_eq!((permits.0.len(), permits.1.len()), (5, 5));
}

#[tokio::test(start_paused = true)]
async fn slots_are_not_leased_twice_if_the_store_forgets() {
    let model = Model::new();
    let network = Network::new(&model, 1, LATENCY, 0);
    let (first, second) = (slots(&network, 50), slots(&network, 50));
    drop(second.acquire().await.unwrap());
    sleep(SECOND * 2).await;
    let permits = take_all(&first).await;
    let waiting = tokio::spawn(async move { take_all(&second).await.len() });
    sleep(SECOND).await;
    model.forget();
    assert_eq!(permits.len(), 50);
    assert_eq!(waiting.await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn slots_that_nobody_uses_are_free_for_others() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let (first, second) = (slots(&network, 50), slots(&network, 50));
    assert_eq!(take_all(&first).await.len(), 50);
    // Its requests have ended, and it needs none.
    sleep(SECOND * 2).await;
    assert_eq!(take_all(&second).await.len(), 50);
    // A limiter that is gone has none.
    drop(second);
    sleep(SECOND * 2).await;
    assert_eq!(take_all(&slots(&network, 50)).await.len(), 50);
}

#[tokio::test(start_paused = true)]
async fn all_requests_of_a_burst_are_admitted() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limiter = slots(&network, 50);
    let all = (0..60).map(|_| limiter.acquire_within(Duration::ZERO));
    let permits = futures::future::join_all(all).await;
    assert_eq!(permits.iter().filter(|permit| permit.is_ok()).count(), 50);
}

#[tokio::test(start_paused = true)]
async fn slots_that_were_returned_stay_returned() {
    let network = Network::new(&Model::new(), 1, SECOND / 20, 0);
    for wait in 0..20 {
        let handle = network.process(WhenDown::Local);
        let first = ConcurrencyLimiter::new(5).in_store(handle.clone(), "name");
        drop(take_all(&first).await);
        // A renewal may be under way.
        sleep(SECOND / 10 * wait).await;
        handle.leave().await;
        let second = slots(&network, 5);
        let start = Instant::now();
        assert_eq!(take_all(&second).await.len(), 5);
        assert!(start.elapsed() <= SECOND * 3 / 2, "{:?}", start.elapsed());
        drop(second);
        sleep(SECOND * 2).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_process_that_was_idle_starts_at_once() {
    let network = Network::new(&Model::new(), 1, LATENCY, 0);
    let limiter = slots(&network, 5);
    for idle in [1, 3, 8, 20] {
        drop(take_all(&limiter).await);
        sleep(SECOND * idle).await;
        let start = Instant::now();
        drop(limiter.acquire().await.unwrap());
        assert!(start.elapsed() <= SECOND / 2, "{:?}", start.elapsed());
    }
}
