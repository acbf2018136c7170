//! Processes that share a provider's limits through a store in memory, on a paused clock.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use rand::{RngExt, SeedableRng, rngs::StdRng};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};

use super::simulation::{COST, Count, MS, USED, WORLD, World, run};
use crate::{
    ai::{
        provider::{
            Accounting, Charge, Counting, Provider, ProviderLimiter, Reservation, ThrottleReason,
        },
        tokens::{TokenUsage, Tokens},
    },
    error::{LimitKind, Reason},
    http::{Dimension, RateLimits, Reported},
    limit::{
        nanos,
        store::{
            Model, StoreSettings,
            call::{Call, CallFuture, Store},
            handle::Handle,
        },
    },
};

const SECOND: Duration = Duration::from_secs(1);
const NOW: Duration = Duration::ZERO;

/// A model that is 1 ms away.
#[derive(Debug, Clone)]
struct Network(Model);

impl Store for Network {
    fn call(&self, call: Call) -> CallFuture {
        let model = self.0.clone();
        Box::pin(async move {
            sleep(SECOND / 1_000).await;
            let reply = model.call(call).await;
            sleep(SECOND / 1_000).await;
            reply
        })
    }
}

/// Returns the limiters of some processes.
fn processes<const N: usize>(limiter: &ProviderLimiter) -> [ProviderLimiter; N] {
    let network = Network(Model::new());
    std::array::from_fn(|_| {
        let handle = Handle::new(Arc::new(network.clone()), StoreSettings::default());
        limiter.in_store(handle, "name")
    })
}

fn pair(provider: Provider) -> [ProviderLimiter; 2] {
    processes(&ProviderLimiter::new(provider))
}

/// A provider that counts in its own way.
struct Simulator {
    world: World,
    start: Instant,
    counts: Mutex<(Count, Count)>,
    random: Mutex<StdRng>,
    sent: AtomicU64,
    rejected: AtomicU64,
}

impl Simulator {
    fn random(&self, most: Duration) -> Duration {
        most.mul_f64(self.random.lock().unwrap().random())
    }

    fn counts(&self) -> std::sync::MutexGuard<'_, (Count, Count)> {
        let mut counts = self.counts.lock().unwrap();
        let now = nanos(self.start.elapsed());
        counts.0.advance(now);
        counts.1.advance(now);
        counts
    }

    /// Sends a request, and ends it. Returns whether it was admitted.
    async fn send(&self, reservation: Reservation) -> bool {
        self.sent.fetch_add(1, Relaxed);
        sleep(self.random(Duration::from_millis(20))).await;
        let arrived = nanos(self.start.elapsed());
        let (fits, told, wait) = {
            let (requests, tokens) = &mut *self.counts();
            let fits = requests.used() < requests.limit && tokens.used() + COST <= tokens.limit;
            let wait = requests.wait(1).max(tokens.wait(COST));
            if fits {
                requests.take(1);
                tokens.take(COST);
            }
            (fits, self.world.report(requests, tokens), wait)
        };
        if !fits {
            self.rejected.fetch_add(1, Relaxed);
            reservation.refuse_and_tell(ThrottleReason::Rate, Some(wait), &told);
            return false;
        }
        let (least, most) = self.world.latency;
        let spread = self.random(Duration::from_nanos((most - least) * MS));
        sleep(Duration::from_nanos(least * MS) + spread).await;
        if self.world.refunds {
            self.counts().1.give_back(arrived, COST - USED);
        }
        reservation.observe(&told);
        reservation.settle(usage(USED));
        true
    }
}

fn usage(input: u64) -> TokenUsage {
    TokenUsage {
        input,
        ..TokenUsage::default()
    }
}

/// Runs three processes, and returns their time relative to a client that knows what the provider
/// counts, and the part of the requests that was rejected.
async fn compare(world: World, provider: Provider) -> (f64, f64) {
    let each = if world.refunds { USED } else { COST };
    let periods = 10;
    let work = world.requests.min(world.tokens / each) * periods;
    let simulator = Arc::new(Simulator {
        world,
        start: Instant::now(),
        counts: Mutex::new((
            Count::new(world.requests, world.is_bucket),
            Count::new(world.tokens, world.is_bucket),
        )),
        random: Mutex::new(StdRng::seed_from_u64(7)),
        sent: AtomicU64::new(0),
        rejected: AtomicU64::new(0),
    });
    let limiters: [_; 3] = processes(&ProviderLimiter::new(provider));
    let left = Arc::new(AtomicU64::new(work));
    let mut workers = JoinSet::new();
    for worker in 0..world.workers as usize {
        let limiter = limiters[worker % limiters.len()].clone();
        let (simulator, left) = (simulator.clone(), left.clone());
        workers.spawn(async move {
            let one_less = |left: u64| left.checked_sub(1);
            while left.fetch_update(Relaxed, Relaxed, one_less).is_ok() {
                while !simulator
                    .send(limiter.acquire(Tokens::new(COST, 0)).await.unwrap())
                    .await
                {}
            }
        });
    }
    while workers.join_next().await.is_some() {}
    let elapsed = simulator.start.elapsed().as_nanos() as f64;
    let ideal = run(world, None, periods).elapsed;
    let rejected = simulator.rejected.load(Relaxed) as f64;
    (
        elapsed / ideal,
        rejected / simulator.sent.load(Relaxed) as f64,
    )
}

#[tokio::test(start_paused = true)]
async fn three_processes_use_all_of_a_provider() {
    for is_bucket in [false, true] {
        for refunds in [false, true] {
            let world = World {
                is_bucket,
                refunds,
                workers: 50,
                requests: 250,
                tokens: 100_000,
                ..WORLD
            };
            let counting = match refunds {
                true => Accounting::SETTLED,
                false => Accounting::OPENAI,
            };
            let provider = super::shaped("p", is_bucket).counting(counting);
            let provider = provider.rpm(world.requests).tpm(world.tokens);
            let (elapsed, rejected) = compare(world, provider).await;
            println!("bucket {is_bucket}, refunds {refunds}: {elapsed:.4} {rejected:.5}");
            assert!(elapsed <= 1.03 && rejected <= 0.001, "{elapsed} {rejected}");
        }
    }
}

fn requests(limiter: &ProviderLimiter) -> Option<u64> {
    let usage = limiter.usage();
    usage.get(Dimension::Requests).map(|limit| limit.used)
}

/// Returns how many tokens another process finds used, once it has asked.
async fn tokens(limiter: &ProviderLimiter) -> u64 {
    sleep(SECOND).await;
    let probe = limiter.acquire_within(Tokens::default(), NOW).await;
    drop(probe.unwrap());
    limiter.usage().get(Dimension::Tokens).unwrap().used
}

fn report(dimension: Dimension, limit: u64, remaining: Option<u64>) -> RateLimits {
    let mut told = RateLimits::default();
    told.push(Reported {
        dimension,
        period: None,
        limit: Some(limit),
        remaining,
        reset: None,
    });
    told
}

fn provider(counting: Counting) -> Provider {
    let provider = Provider::new("p").counting(Accounting::new(counting));
    provider.rpm(1_000).tpm(1_000)
}

async fn reserve(limiter: &ProviderLimiter) -> Reservation {
    limiter.acquire(Tokens::new(300, 300)).await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_settle_in_all_processes() {
    for (counting, less, more) in [
        (Counting::Admission, 600, 600),
        (Counting::Settled, 100, 900),
        (Counting::Completion, 100, 900),
    ] {
        for (used, expected) in [(100, less), (900, more)] {
            let [first, second] = pair(provider(counting));
            let reservation = reserve(&first).await;
            assert_eq!(tokens(&second).await, 600);
            reservation.settle(usage(used));
            assert_eq!(tokens(&second).await, expected, "{counting:?} {used}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tokens_of_a_completion_count_from_its_end() {
    let [first, second] = pair(provider(Counting::Completion));
    let reservation = reserve(&first).await;
    sleep(SECOND * 40).await;
    reservation.settle(usage(500));
    sleep(SECOND * 30).await;
    // The reservation has left the window.
    assert_eq!(tokens(&second).await, 500);
}

#[tokio::test(start_paused = true)]
async fn what_was_not_sent_comes_back_in_all_processes() {
    let [first, second] = pair(provider(Counting::Settled));
    reserve(&first).await.refund();
    assert_eq!(tokens(&second).await, 0);
    // One by the probe.
    assert_eq!(requests(&second), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_request_costs_what_is_set() {
    for (charge, expected) in [(Charge::Reserved, 600), (Charge::Reported, 0)] {
        let limiter = ProviderLimiter::new(provider(Counting::Settled)).on_drop(charge);
        let [first, second] = processes(&limiter);
        drop(reserve(&first).await);
        assert_eq!(tokens(&second).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_dropped_in_the_queue_takes_nothing() {
    let [first, second] = pair(provider(Counting::Admission));
    reserve(&first).await.settle(usage(600));
    for _ in 0..5 {
        let waiting = second.acquire_within(Tokens::new(600, 0), SECOND * 90);
        let _elapsed = tokio::time::timeout(SECOND, waiting).await;
    }
    assert_eq!(tokens(&first).await, 600);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_in_all_processes() {
    let [first, second] = pair(provider(Counting::Settled));
    // Both know the store.
    reserve(&second).await.refund();
    let wait = Some(SECOND * 10);
    reserve(&first).await.refuse(ThrottleReason::Rate, wait);
    let start = Instant::now();
    assert_eq!(tokens_left(&first), 1_000 - 600);
    let waiting = second.acquire_within(Tokens::default(), NOW).await;
    drop(waiting);
    sleep(SECOND).await;
    let rejected = second.acquire_within(Tokens::default(), SECOND).await;
    let rejected = rejected.unwrap_err();
    assert_eq!(rejected.limit(), LimitKind::Pause, "{rejected}");
    // At two instants.
    let both = futures::future::join_all([&first, &second].map(async |limiter| {
        drop(limiter.acquire(Tokens::default()).await);
        start.elapsed()
    }));
    let both = both.await;
    assert!(both.iter().all(|at| *at >= SECOND * 10), "{both:?}");
    assert!(both.iter().all(|at| *at <= SECOND * 14), "{both:?}");
    assert!(both[0].abs_diff(both[1]) > SECOND / 100, "{both:?}");
}

fn tokens_left(limiter: &ProviderLimiter) -> u64 {
    let usage = limiter.usage();
    let tokens = usage.get(Dimension::Tokens).unwrap();
    tokens.limit - tokens.used
}

#[tokio::test(start_paused = true)]
async fn a_learned_limit_applies_in_all_processes() {
    let [first, second] = pair(provider(Counting::Admission));
    let reservation = reserve(&first).await;
    reservation.observe(&report(Dimension::Tokens, 2_000, Some(1_400)));
    sleep(SECOND * 2).await;
    drop(second.acquire(Tokens::default()).await.unwrap());
    let limit = second.usage().get(Dimension::Tokens).unwrap().limit;
    assert_eq!(limit, 2_000);
    assert!(
        second
            .acquire_within(Tokens::new(1_400, 0), NOW)
            .await
            .is_ok()
    );
    assert!(first.acquire_within(Tokens::new(1, 0), NOW).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn processes_that_know_nothing_learn_together() {
    let [first, second] = pair(Provider::new("p"));
    let reservation = reserve(&first).await;
    reservation.observe(&report(Dimension::Tokens, 5_000, Some(4_000)));
    reservation.settle(usage(600));
    sleep(SECOND * 2).await;
    let told = report(Dimension::Requests, 4, None);
    let reservation = reserve(&second).await;
    reservation.observe(&told);
    reservation.settle(usage(600));
    sleep(SECOND * 2).await;
    // What was used before the limit was known, and since then.
    assert_eq!(tokens(&first).await, 1_600);
    let limits = |limiter: &ProviderLimiter| {
        let usage = limiter.usage();
        let limits = usage.limits().map(|limit| (limit.dimension, limit.limit));
        limits.collect::<Vec<_>>()
    };
    let expected = [(Dimension::Requests, 4), (Dimension::Tokens, 5_000)];
    assert_eq!(
        (limits(&first), limits(&second)),
        (expected.into(), expected.into())
    );
    drop(second.acquire_within(Tokens::default(), NOW).await.unwrap());
    let rejected = first.acquire_within(Tokens::default(), NOW).await;
    let rejected = rejected.unwrap_err();
    assert_eq!(rejected.limit(), LimitKind::Quota(Dimension::Requests));
}

#[tokio::test(start_paused = true)]
async fn what_others_use_of_the_key_is_charged_once() {
    let [first, second] = pair(provider(Counting::Admission));
    let sent = [
        reserve(&first).await,
        first.acquire(Tokens::new(300, 0)).await.unwrap(),
    ];
    // Others have used 800.
    for reservation in sent {
        let told = report(Dimension::Tokens, 1_000, Some(200));
        reservation.refuse_and_tell(ThrottleReason::Rate, Some(SECOND), &told);
    }
    sleep(SECOND * 3).await;
    assert_eq!(tokens(&second).await, 800);
}

#[tokio::test(start_paused = true)]
async fn all_processes_charge_what_others_use_once() {
    for counting in [Counting::Admission, Counting::Settled] {
        let provider = provider(counting);
        for provider in [provider, provider.bucket()] {
            let all: [_; 4] = processes(&ProviderLimiter::new(provider));
            let mut sent = Vec::new();
            for limiter in &all {
                sent.push(limiter.acquire(Tokens::new(100, 0)).await.unwrap());
            }
            // Others have used 700, which each process hears at once.
            for reservation in sent {
                let told = report(Dimension::Tokens, 1_000, Some(300));
                reservation.refuse_and_tell(ThrottleReason::Rate, Some(SECOND), &told);
            }
            sleep(SECOND * 3).await;
            let used = tokens(&all[0]).await;
            // A bucket refills meanwhile.
            assert!((600..=700).contains(&used), "{used}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_rest_of_the_limiter_works_with_a_store() {
    let [first, second] = pair(provider(Counting::Admission));
    let rejected = first.acquire(Tokens::new(2_000, 0)).await.unwrap_err();
    assert!(rejected.exceeds_capacity(), "{rejected}");
    assert_eq!(rejected.limit(), LimitKind::Quota(Dimension::Tokens));
    drop(reserve(&first).await);
    let rejected = second.acquire_within(Tokens::new(600, 0), SECOND).await;
    let rejected = rejected.unwrap_err();
    assert_eq!(rejected.limit(), LimitKind::Quota(Dimension::Tokens));
    let wait = rejected.retry_after().unwrap();
    assert!(wait > SECOND * 59 && wait < SECOND * 61, "{wait:?}");
    // A router asks whether a request may start, and how long it would wait.
    assert!(!second.can_start(Tokens::new(600, 0)));
    let outlook = second.outlook(Tokens::new(600, 0), super::super::WHOLE);
    assert!(outlook.unwrap().unwrap() > SECOND * 58);
    // Another process goes on.
    let waiting = tokio::spawn({
        let first = first.clone();
        async move { first.acquire(Tokens::new(600, 0)).await }
    });
    sleep(SECOND).await;
    first.close();
    let closed = waiting.await.unwrap().unwrap_err();
    assert_eq!(closed.reason(), Reason::Closed);
    // Its place among the processes is gone soon.
    sleep(SECOND).await;
    assert!(
        second
            .acquire_within(Tokens::new(400, 0), NOW)
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn processes_do_not_disagree_on_the_shape_of_a_limit() {
    let [first, second] = pair(Provider::new("p").rpm(1_000));
    let mut used = 0;
    for number in 0..10 {
        // One process sees that the limit recovers in proportion to its use, as a bucket does.
        let (limiter, is_told) = match number % 2 {
            0 => (&first, true),
            _ => (&second, false),
        };
        let reservation = reserve(limiter).await;
        used += 600;
        let mut told = RateLimits::default();
        told.push(Reported {
            dimension: Dimension::Tokens,
            period: None,
            limit: Some(10_000),
            remaining: Some(10_000 - used),
            reset: is_told.then(|| SECOND * 60 * u32::try_from(used).unwrap() / 10_000),
        });
        reservation.observe(&told);
        reservation.settle(usage(600));
        sleep(SECOND / 2).await;
    }
    assert_eq!(tokens(&second).await, used);
}
