//! What answers teach.

use std::time::Duration;

use http::HeaderMap;
use tower_throttle::{
    Dimension, RateLimits, TokenUsage, Tokens,
    provider::{LimitUsage, Provider, ProviderLimiter, ThrottleReason},
};

use super::nth;
use crate::support::{Listening, ms, poll_once};

fn told(fields: &[(&'static str, &str)]) -> RateLimits {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.insert(*name, value.parse().unwrap());
    }
    RateLimits::from_headers(&headers)
}

/// OpenAI's headers for requests.
fn requests(limit: &str, remaining: &str) -> RateLimits {
    told(&[
        ("x-ratelimit-limit-requests", limit),
        ("x-ratelimit-remaining-requests", remaining),
        ("x-ratelimit-reset-requests", "1m0s"),
    ])
}

/// Sends one request whose answer says so.
fn hear(limiter: &ProviderLimiter, limits: &RateLimits) {
    let reservation = limiter.try_acquire(Tokens::new(1, 1)).unwrap();
    reservation.observe(limits);
    reservation.settle(TokenUsage::default());
}

fn first(limiter: &ProviderLimiter) -> LimitUsage {
    nth(&limiter.usage(), 0)
}

#[tokio::test(start_paused = true)]
async fn knowing_nothing_it_feels_its_way_and_finds_the_limits() {
    let limiter = ProviderLimiter::new(Provider::new("unknown"));
    let one = limiter.try_acquire(Tokens::new(10, 10)).unwrap();
    assert!(limiter.try_acquire(Tokens::new(10, 10)).is_err());
    one.observe(&RateLimits::default());
    // No word of limits: twice as many.
    drop(one);
    let two: Vec<_> = (0..2)
        .map(|_| limiter.try_acquire(Tokens::new(10, 10)).unwrap())
        .collect();
    assert!(limiter.try_acquire(Tokens::new(10, 10)).is_err());
    two[0].observe(&told(&[
        ("x-ratelimit-limit-requests", "500"),
        ("x-ratelimit-remaining-requests", "400"),
        ("x-ratelimit-limit-tokens", "30000"),
        ("x-ratelimit-remaining-tokens", "29000"),
    ]));
    let usage = limiter.usage();
    let (requests, tokens) = (nth(&usage, 0), nth(&usage, 1));
    assert_eq!(
        (requests.dimension, requests.limit, requests.used),
        (Dimension::Requests, 500, 100)
    );
    assert_eq!(
        (tokens.dimension, tokens.limit, tokens.used),
        (Dimension::Tokens, 30_000, 1_000)
    );
    assert!(requests.period.unwrap() - Duration::from_secs(60) <= ms(250));
    // The report is as old as its response, so others may have sent more: twice as many again.
    let rest: Vec<_> =
        std::iter::from_fn(|| limiter.try_acquire(Tokens::new(10, 10)).ok()).collect();
    assert_eq!(rest.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_learned_if_that_is_off() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(100)).learn(false);
    hear(&limiter, &requests("50", "0"));
    assert_eq!((first(&limiter).limit, first(&limiter).ours), (100, 100));
}

#[tokio::test(start_paused = true)]
async fn a_changed_limit_is_taken_over_both_ways() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(100));
    hear(&limiter, &requests("50", "49"));
    assert_eq!(first(&limiter).limit, 50);
    tokio::time::sleep(ms(1)).await;
    hear(&limiter, &requests("200", "198"));
    assert_eq!((first(&limiter).limit, first(&limiter).ours), (200, 200));
}

#[tokio::test(start_paused = true)]
async fn somebody_else_on_the_key_makes_ours_smaller_for_a_while() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(300));
    let ours: Vec<_> = (0..50)
        .map(|_| limiter.try_acquire(Tokens::default()).unwrap())
        .collect();
    // We have had 50, and 150 are gone: of the 150 that are left, a third is ours.
    ours[49].observe(&requests("300", "150"));
    assert_eq!(first(&limiter).ours, 100);
    drop(ours);
    let rest: Vec<_> = std::iter::from_fn(|| limiter.try_acquire(Tokens::default()).ok()).collect();
    // A thirty-second of the limit stays free, and each of ours stands for three.
    assert_eq!(rest.len(), 47);
    // After two periods without a report it is as if nobody else were there.
    tokio::time::sleep(Duration::from_secs(119)).await;
    assert_eq!(first(&limiter).ours, 100);
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(first(&limiter).ours, 300);
}

#[tokio::test(start_paused = true)]
async fn our_own_requests_are_not_somebody_elses() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(300));
    let early = limiter.try_acquire(Tokens::default()).unwrap();
    let _later: Vec<_> = (0..100)
        .map(|_| limiter.try_acquire(Tokens::default()).unwrap())
        .collect();
    // All of them may have arrived before the answer to the first was made.
    early.observe(&requests("300", "199"));
    assert_eq!(first(&limiter).ours, 300);
}

#[tokio::test(start_paused = true)]
async fn stale_and_senseless_answers_do_no_harm() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(300));
    let stale = limiter.try_acquire(Tokens::default()).unwrap();
    tokio::time::sleep(ms(10)).await;
    hear(&limiter, &requests("300", "298"));
    // Sent before the one that was heard, and answered after it.
    stale.observe(&requests("10", "0"));
    assert_eq!((first(&limiter).limit, first(&limiter).ours), (300, 300));
    for (limit, remaining) in [
        ("-1", "-1"),
        ("0", "0"),
        ("many", "few"),
        ("NaN", "NaN"),
        ("", ""),
        ("300", "99999999999999999999999"),
        ("300", "-5"),
    ] {
        tokio::time::sleep(ms(10)).await;
        hear(&limiter, &requests(limit, remaining));
        let now = first(&limiter);
        assert_eq!((now.limit, now.ours), (300, 300), "{limit} {remaining}");
    }
    // A limit is believed at once, and so is the next.
    tokio::time::sleep(ms(300)).await;
    hear(&limiter, &requests("3", "2"));
    assert_eq!(first(&limiter).limit, 3);
    tokio::time::sleep(Duration::from_secs(61)).await;
    hear(&limiter, &requests("300", "299"));
    assert_eq!(first(&limiter).limit, 300);
}

#[tokio::test(start_paused = true)]
async fn a_day_is_told_from_a_minute_by_how_long_it_takes_to_come_back() {
    let limiter = ProviderLimiter::new(Provider::new("p"));
    hear(
        &limiter,
        &told(&[
            ("x-ratelimit-limit-requests", "14400"),
            ("x-ratelimit-remaining-requests", "14370"),
            ("x-ratelimit-reset-requests", "2m59.56s"),
            ("x-ratelimit-limit-tokens", "18000"),
            ("x-ratelimit-remaining-tokens", "17997"),
            ("x-ratelimit-reset-tokens", "7.66ms"),
        ]),
    );
    let usage = limiter.usage();
    assert!(nth(&usage, 0).period.unwrap() >= Duration::from_secs(86_400));
    assert!(nth(&usage, 1).period.unwrap() < Duration::from_secs(61));
}

#[tokio::test(start_paused = true)]
async fn a_limit_on_calls_in_flight_is_found_by_being_refused_and_felt_for_again() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(10_000));
    let mut held: Vec<_> = (0..64)
        .map(|_| limiter.try_acquire(Tokens::default()).unwrap())
        .collect();
    for reservation in held.split_off(50) {
        reservation.refuse(ThrottleReason::Concurrency, None);
    }
    let flight = || *limiter.usage().limits().last().unwrap();
    assert_eq!(
        (flight().dimension, flight().limit),
        (Dimension::Concurrency, 50)
    );
    tokio::time::sleep(Duration::from_secs(61)).await;
    held[0].observe(&RateLimits::default());
    assert_eq!(flight().limit, 51);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_sinks_below_what_waits_holds_nobody_up_for_ever() {
    for provider in [
        Provider::new("p").tpm(1_000),
        Provider::new("p").tpm(1_000).bucket(),
    ] {
        let limiter = ProviderLimiter::new(provider);
        let first = limiter.try_acquire(Tokens::new(900, 0)).unwrap();
        let mut large = Box::pin(limiter.acquire(Tokens::new(900, 0)));
        let mut small = Box::pin(limiter.acquire(Tokens::new(1, 0)));
        assert!(poll_once(large.as_mut()).await.is_none());
        assert!(poll_once(small.as_mut()).await.is_none());
        first.observe(&told(&[
            ("x-ratelimit-limit-tokens", "500"),
            ("x-ratelimit-remaining-tokens", "0"),
        ]));
        drop(first);
        assert_eq!(self::first(&limiter).limit, 500);
        let day = Duration::from_secs(24 * 60 * 60);
        let both = tokio::time::timeout(day, futures::future::join(large, small));
        let (large, small) = both.await.expect("nobody waits for ever");
        assert!(large.is_ok() && small.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_is_a_lie_keeps_nobody_out_for_ever() {
    let limiter = ProviderLimiter::new(Provider::new("p").tpm(1_000));
    let headers = |limit| {
        told(&[
            ("x-ratelimit-limit-tokens", limit),
            ("x-ratelimit-remaining-tokens", "1"),
        ])
    };
    for limit in ["1", "1", "1000"] {
        tokio::time::sleep(Duration::from_secs(61)).await;
        let reservation = limiter.try_acquire(Tokens::new(100, 0)).unwrap();
        reservation.observe(&headers(limit));
    }
    assert_eq!(first(&limiter).limit, 1_000);
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_no_header_tells_is_found_by_being_refused_and_felt_for_again() {
    let provider = Provider::new("silent").concurrent(1_000);
    let limiter = ProviderLimiter::new(provider);
    let take = || limiter.try_acquire(Tokens::default());
    let silent = RateLimits::default();
    let end = |reservation: tower_throttle::provider::Reservation| {
        reservation.observe(&silent);
        reservation.settle(TokenUsage::default());
    };
    for _ in 0..200 {
        end(take().unwrap());
    }
    assert_eq!(
        limiter.usage().limits().count(),
        1,
        "none but that in flight"
    );
    let under_way: Vec<_> = (0..10).map(|_| take().unwrap()).collect();
    for reservation in under_way {
        reservation.refuse(ThrottleReason::Rate, Some(ms(100)));
    }
    // Those that were refused were not let in.
    assert_eq!(
        (first(&limiter).dimension, first(&limiter).limit),
        (Dimension::Requests, 200)
    );
    tokio::time::sleep(ms(10_000)).await;
    assert!(take().is_err());
    // They come back a minute after they started; and after a minute without a refusal one in a hundred more.
    tokio::time::sleep(Duration::from_secs(52)).await;
    for _ in 0..200 {
        end(take().unwrap());
    }
    assert_eq!(first(&limiter).limit, 202);
    // Told at last: what was felt for gives way.
    let told_late = take().unwrap();
    told_late.observe(&requests("500", "299"));
    assert_eq!((first(&limiter).limit, first(&limiter).used), (500, 201));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_while_all_are_in_flight_says_how_many_may_be() {
    let limiter = ProviderLimiter::new(Provider::new("silent").concurrent(1_000));
    let mut held: Vec<_> = (0..64)
        .map(|_| limiter.try_acquire(Tokens::default()).unwrap())
        .collect();
    for reservation in held.split_off(50) {
        reservation.refuse(ThrottleReason::Rate, Some(ms(1)));
    }
    let usage = limiter.usage();
    let limits: Vec<_> = usage.limits().map(|limit| limit.dimension).collect();
    assert_eq!(limits, [Dimension::Concurrency]);
    // By half at most, as for every refusal of that kind.
    assert_eq!(usage.limits().next().unwrap().limit, 500);
}

#[tokio::test(start_paused = true)]
async fn one_event_tells_of_each_limit_that_is_learned_and_none_of_what_was_known() {
    let limiter = ProviderLimiter::new(Provider::new("p").rpm(100));
    let events = Listening::start();
    hear(&limiter, &requests("100", "99"));
    assert!(events.lines().is_empty());
    hear(&limiter, &requests("50", "40"));
    let lines = events.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(
        lines[0].starts_with("learned a limit dimension=requests period="),
        "{lines:?}"
    );
    assert!(lines[0].ends_with("limit=50 was=100"), "{lines:?}");
    hear(
        &limiter,
        &told(&[
            ("x-ratelimit-limit-tokens", "30000"),
            ("x-ratelimit-remaining-tokens", "30000"),
        ]),
    );
    let lines = events.lines();
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].contains("dimension=tokens"), "{lines:?}");
    assert!(lines[0].ends_with("limit=30000"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn a_minute_that_never_ends_learns_what_is_told() {
    let provider = Provider::new("slow").rpm(5).with_minute(Duration::MAX);
    let limiter = ProviderLimiter::new(provider);
    let told = told(&[
        ("x-ratelimit-limit-tokens", "30000"),
        ("x-ratelimit-remaining-tokens", "29000"),
        ("x-ratelimit-reset-tokens", "2s"),
    ]);
    hear(&limiter, &told);
    let limits: Vec<_> = limiter.usage().limits().map(|limit| limit.limit).collect();
    assert_eq!(limits, [5, 30_000]);
}
