//! The limiter on its own: all limits or none, first in first out, bounded, safe to drop.

use std::time::Duration;

use tokio::time::Instant;
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{
    BoxError, Dimension, LimitKind, Quota, Reason, Rejected, TokenUsage, Tokens,
    provider::{Accounting, Provider, ProviderLayer, ProviderLimiter},
};

use super::{Request, ask, json, nth, small, used};
use crate::support::{ms, poll_once};

const NOTHING: TokenUsage = TokenUsage {
    input: 0,
    cached_input: 0,
    cache_write_input: 0,
    output: 0,
    reasoning: 0,
};

fn rejection<T>(result: Result<T, BoxError>) -> Rejected {
    let error = result.err().expect("not rejected");
    error.downcast_ref::<Rejected>().unwrap().clone()
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_one_limit_takes_from_none() {
    let limiter = ProviderLimiter::new(small());
    let first = limiter.try_acquire(Tokens::new(900, 0)).unwrap();
    let mut second = Box::pin(limiter.acquire(Tokens::new(200, 0)));
    assert!(poll_once(second.as_mut()).await.is_none());
    assert_eq!((used(&limiter, 0), used(&limiter, 1)), (1, 900));
    assert_eq!(limiter.usage().waiting, 1);

    // 700 come back, and it starts at that instant.
    let start = Instant::now();
    first.settle(TokenUsage {
        input: 200,
        ..NOTHING
    });
    let reservation = second.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!((used(&limiter, 0), used(&limiter, 1)), (2, 400));
    reservation.refund();
    assert_eq!((used(&limiter, 0), used(&limiter, 1)), (1, 200));
}

#[tokio::test(start_paused = true)]
async fn a_large_one_is_not_overtaken_by_small_ones_behind_it() {
    let limiter = ProviderLimiter::new(small());
    let _first = limiter.try_acquire(Tokens::new(500, 0)).unwrap();
    let order = std::sync::Mutex::new(Vec::new());
    let line = async |name: &'static str, tokens: u64| {
        drop(limiter.acquire(Tokens::new(tokens, 0)).await.unwrap());
        order.lock().unwrap().push(name);
    };
    // 100 would fit at any time.
    tokio::join!(line("large", 900), line("small", 100), line("smaller", 10));
    assert_eq!(*order.lock().unwrap(), ["large", "small", "smaller"]);
    assert!(limiter.try_acquire(Tokens::new(0, 0)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_dropped_waiter_leaves_no_trace() {
    let limiter = ProviderLimiter::new(small());
    let _first = limiter.try_acquire(Tokens::new(1_000, 0)).unwrap();
    let mut large = Box::pin(limiter.acquire(Tokens::new(1_000, 0)));
    let mut small = Box::pin(limiter.acquire(Tokens::new(0, 0)));
    assert!(poll_once(large.as_mut()).await.is_none());
    assert!(poll_once(small.as_mut()).await.is_none());
    drop(large);
    assert_eq!(limiter.usage().waiting, 1);
    let start = Instant::now();
    drop(small.await.unwrap());
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(limiter.usage().waiting, 0);
    assert_eq!(used(&limiter, 0), 2);
}

#[tokio::test(start_paused = true)]
async fn too_long_a_wait_is_refused_at_once_and_says_which_limit() {
    let limiter = ProviderLimiter::new(small());
    let _first = limiter.try_acquire(Tokens::new(1_000, 0)).unwrap();
    let start = Instant::now();
    let acquired = limiter.acquire_within(Tokens::new(10, 0), ms(5_000)).await;
    let rejected = acquired.unwrap_err();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(rejected.limit(), LimitKind::Quota(Dimension::Tokens));
    assert_eq!(
        rejected.reason(),
        Reason::WaitTooLong {
            max_wait: ms(5_000)
        }
    );
    let wait = rejected.retry_after().unwrap();
    assert!(
        wait >= Duration::from_secs(60) && wait <= Duration::from_secs(61),
        "{wait:?}"
    );
    assert!(
        rejected
            .to_string()
            .starts_with("rejected by the provider's tokens limit")
    );
    assert_eq!(limiter.usage().refused, 1);

    // And that was the truth.
    tokio::time::sleep(wait - ms(2)).await;
    assert!(limiter.try_acquire(Tokens::new(10, 0)).is_err());
    tokio::time::sleep(ms(3)).await;
    assert!(limiter.try_acquire(Tokens::new(10, 0)).is_ok());
}

#[tokio::test(start_paused = true)]
async fn no_more_wait_than_may_and_nobody_longer_than_may() {
    let limiter = ProviderLimiter::new(Provider::new("one").concurrent(1));
    let service = ProviderLayer::from(limiter.clone())
        .estimate(|_: &Request<&str>| Tokens::default())
        .max_waiting(2)
        .max_wait(ms(1_000))
        .layer(service_fn(async |_| json("{}")));
    let held = limiter.try_acquire(Tokens::default()).unwrap();
    let mut waiting: Vec<_> = (0..2)
        .map(|_| Box::pin(service.clone().oneshot(ask("{}"))))
        .collect();
    for future in &mut waiting {
        assert!(poll_once(future.as_mut()).await.is_none());
    }
    let rejected = rejection(service.clone().oneshot(ask("{}")).await);
    assert_eq!(rejected.reason(), Reason::QueueFull { max_waiting: 2 });
    let start = Instant::now();
    for future in waiting {
        let rejected = rejection(future.await);
        assert_eq!(rejected.limit(), LimitKind::Quota(Dimension::Concurrency));
    }
    assert!(start.elapsed() >= ms(1_000) && start.elapsed() < ms(1_100));
    assert_eq!(limiter.usage().refused, 3);
    drop(held);
    assert!(limiter.try_acquire(Tokens::default()).is_ok());
}

#[tokio::test(start_paused = true)]
async fn more_than_a_limit_holds_never_fits() {
    let limiter = ProviderLimiter::new(small());
    let rejected = limiter.acquire(Tokens::new(600, 401)).await.unwrap_err();
    let (cost, capacity) = (1_001, 1_000);
    assert_eq!(
        rejected.reason(),
        Reason::ExceedsCapacity { cost, capacity }
    );
    let huge = limiter
        .try_acquire(Tokens::new(u64::MAX, u64::MAX))
        .unwrap_err();
    assert!(huge.exceeds_capacity());
    let none = ProviderLimiter::new(Provider::new("none").concurrent(0));
    assert!(
        none.try_acquire(Tokens::default())
            .unwrap_err()
            .exceeds_capacity()
    );
    let none = ProviderLimiter::new(Provider::new("none").rpm(0));
    assert!(
        none.try_acquire(Tokens::default())
            .unwrap_err()
            .exceeds_capacity()
    );
}

#[tokio::test(start_paused = true)]
async fn what_ends_lets_the_next_one_start() {
    let limiter = ProviderLimiter::new(Provider::new("one").concurrent(1));
    for end in ["settle", "refund", "drop", "panic"] {
        let held = limiter.try_acquire(Tokens::new(1, 1)).unwrap();
        let mut next = Box::pin(limiter.acquire(Tokens::new(1, 1)));
        assert!(poll_once(next.as_mut()).await.is_none());
        match end {
            "settle" => held.settle(NOTHING),
            "refund" => held.refund(),
            "drop" => drop(held),
            _ => {
                let panicked = tokio::spawn(async move {
                    let _held = held;
                    panic!("as a service may");
                });
                assert!(panicked.await.is_err());
            }
        }
        drop(next.await.unwrap());
        assert_eq!(limiter.usage().in_flight, 0, "{end}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_counts_at_the_end_is_held_back_until_then() {
    let provider = Provider::new("p")
        .tpm(1_000)
        .counting(Accounting::ANTHROPIC);
    let limiter = ProviderLimiter::new(provider);
    let first = limiter.try_acquire(Tokens::new(100, 800)).unwrap();
    let usage = nth(&limiter.usage(), 0);
    assert_eq!((usage.used, usage.reserved), (0, 900));
    // It is held back for longer than any window.
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(limiter.try_acquire(Tokens::new(200, 0)).is_err());
    first.settle(TokenUsage {
        input: 100,
        cached_input: 60,
        output: 10,
        ..NOTHING
    });
    // The cached part does not count.
    let usage = nth(&limiter.usage(), 0);
    assert_eq!((usage.used, usage.reserved), (50, 0));
    // And counts from now on.
    tokio::time::sleep(Duration::from_secs(59)).await;
    assert_eq!(used(&limiter, 0), 50);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(used(&limiter, 0), 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_used_on_top_is_taken_too_but_never_more_than_the_limit() {
    for (provider, settled) in [(small(), 1_900), (small().bucket(), 1_900)] {
        let limiter = ProviderLimiter::new(provider);
        drop(limiter.try_acquire(Tokens::new(900, 0)).unwrap());
        let lied = limiter.try_acquire(Tokens::new(100, 0)).unwrap();
        lied.settle(TokenUsage {
            input: u64::MAX,
            ..NOTHING
        });
        assert_eq!(used(&limiter, 1), settled);
        let rejected = limiter.try_acquire(Tokens::new(1, 0)).unwrap_err();
        assert!(rejected.retry_after().unwrap() <= Duration::from_secs(61));
    }
}

#[tokio::test(start_paused = true)]
async fn a_backlog_drains_at_the_rate_of_a_bucket() {
    let quota = Quota::per_second(2_000).burst(1);
    let provider = Provider::new("fast")
        .bucket()
        .limit(Dimension::Requests, quota);
    let limiter = ProviderLimiter::new(provider);
    let start = Instant::now();
    for _ in 0..2_001 {
        drop(limiter.acquire(Tokens::default()).await.unwrap());
    }
    let elapsed = start.elapsed();
    assert!(elapsed >= ms(985) && elapsed <= ms(1_010), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn each_limit_shows_how_it_stands() {
    let limiter = ProviderLimiter::new(small().concurrent(9));
    let held = limiter.try_acquire(Tokens::new(10, 20)).unwrap();
    let usage = limiter.usage();
    let dimensions: Vec<_> = usage.limits().map(|limit| limit.dimension).collect();
    use Dimension::{Concurrency, Requests, Tokens as All};
    assert_eq!(dimensions, [Requests, All, Concurrency]);
    let tokens = nth(&usage, 1);
    assert_eq!((tokens.used, tokens.limit, tokens.ours), (30, 1_000, 1_000));
    assert!(tokens.resets_in > Duration::from_secs(59));
    let flight = nth(&usage, 2);
    assert_eq!((flight.used, flight.limit, flight.period), (1, 9, None));
    assert_eq!((usage.in_flight, usage.waiting, usage.refused), (1, 0, 0));
    drop(held);
    assert_eq!(nth(&limiter.usage(), 2).used, 0);
}

#[tokio::test(start_paused = true)]
async fn one_that_would_overtake_is_told_what_those_ahead_wait_for() {
    let limiter = ProviderLimiter::new(small());
    let service = ProviderLayer::from(limiter.clone())
        .estimate(|_: &Request<&str>| Tokens::new(100, 0))
        .max_waiting(1)
        .layer(service_fn(async |_| json("{}")));
    let _first = limiter.try_acquire(Tokens::new(500, 0)).unwrap();
    let mut large = Box::pin(limiter.acquire(Tokens::new(900, 0)));
    assert!(poll_once(large.as_mut()).await.is_none());
    // Alone it would fit.
    let rejected = limiter.try_acquire(Tokens::new(100, 0)).unwrap_err();
    assert_eq!(rejected.limit(), LimitKind::Quota(Dimension::Tokens));
    let rejected = rejection(service.oneshot(ask("{}")).await);
    assert_eq!(rejected.limit(), LimitKind::Quota(Dimension::Tokens));
    assert_eq!(rejected.reason(), Reason::QueueFull { max_waiting: 1 });
}

#[tokio::test(start_paused = true)]
async fn every_refusal_is_counted() {
    let limiter = ProviderLimiter::new(Provider::new("one").concurrent(1));
    let _held = limiter.try_acquire(Tokens::default()).unwrap();
    assert!(limiter.try_acquire(Tokens::default()).is_err());
    assert_eq!(limiter.usage().refused, 1);
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_longer_than_ten_milliseconds_over_the_longest_wait() {
    let limiter = ProviderLimiter::new(Provider::new("one").concurrent(1));
    let _held = limiter.try_acquire(Tokens::default()).unwrap();
    let start = Instant::now();
    let acquired = limiter.acquire_within(Tokens::default(), ms(1_000)).await;
    let _ = acquired.unwrap_err();
    // A timer ticks once a millisecond.
    assert!(start.elapsed() <= ms(1_011), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn who_stops_learning_stops_feeling_its_way() {
    let limiter = ProviderLimiter::new(Provider::new("unknown"));
    let _held = limiter.try_acquire(Tokens::default()).unwrap();
    let mut next = Box::pin(limiter.acquire(Tokens::default()));
    assert!(poll_once(next.as_mut()).await.is_none());
    let _same = limiter.clone().learn(false);
    let next = tokio::time::timeout(ms(1), next).await;
    assert!(next.expect("nothing holds it back").is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_hook_sees_what_is_rejected() {
    let seen = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hook = seen.clone();
    let layer = ProviderLayer::new(Provider::new("small").rpm(1))
        .max_wait(Duration::ZERO)
        .name("chat")
        .on_rejected(move |rejected| {
            let name = rejected.rejected.name();
            hook.lock()
                .unwrap()
                .push((name, rejected.request.path().to_owned()));
        });
    let service = layer.layer(service_fn(async |_: Request<&'static str>| json("{}")));
    service.clone().oneshot(ask("hi")).await.unwrap();
    assert!(seen.lock().unwrap().is_empty());
    let result = service.oneshot(ask("hi")).await;
    assert_eq!(rejection(result).name(), Some("chat"));
    assert_eq!(
        *seen.lock().unwrap(),
        [(Some("chat"), "/v1/chat/completions".to_owned())]
    );
}
