//! The groups of contenders.

use std::{
    future::{Ready, ready},
    hint::black_box,
    num::NonZeroU32,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use governor::{Quota as GovernorQuota, RateLimiter, clock::MonotonicClock};
use http::{Request, Response};
use tower::{
    Layer, Service, ServiceBuilder,
    limit::{ConcurrencyLimitLayer, RateLimitLayer},
    retry::{
        Policy, RetryLayer,
        budget::{Budget, TpsBudget},
    },
};
use tower_governor::{
    GovernorLayer, governor::GovernorConfigBuilder, key_extractor::GlobalKeyExtractor,
};
use tower_throttle::{
    BoxError, Clock, ConcurrencyLayer, FallbackLayer, Quota, RetryAfterBackoffLayer,
    SlidingWindowLayer, SlidingWindowLimiter, TokenBucketLayer, TokenBucketLimiter,
    body::GuardedBody,
    concurrency::{Adaptive, body::BodyPermit},
};

use crate::{
    calls::{Echo, calls, calls_from_peer, checks, echoes, nothing},
    measure::Group,
};

const PLENTY: u32 = 1_000_000_000;

/// A quota that nothing here exhausts.
const QUOTA: Quota = Quota::per_second(PLENTY as u64);

const MOST: NonZeroU32 = NonZeroU32::new(PLENTY).expect("not zero");

pub(crate) fn all() -> Vec<Group> {
    vec![
        check(),
        token_bucket(),
        tower_governor(),
        sliding_window(),
        concurrency(),
        retry(),
        fallback(),
        stack(),
    ]
}

fn check() -> Group {
    let quota = GovernorQuota::per_second(MOST);
    let theirs = RateLimiter::direct(quota);
    let theirs_on_std = RateLimiter::direct_with_clock(quota, MonotonicClock);
    let ours = TokenBucketLimiter::with_clock(QUOTA, Clock::quanta());
    let ours_on_tokio = TokenBucketLimiter::new(QUOTA);
    let window = SlidingWindowLimiter::with_clock(QUOTA, Clock::quanta());
    Group::new("bare check")
        .contender(
            "TokenBucketLimiter, quanta",
            checks(move || ours.try_acquire(1).is_ok()),
        )
        .contender("governor, quanta", checks(move || theirs.check().is_ok()))
        .contender(
            "TokenBucketLimiter, tokio",
            checks(move || ours_on_tokio.try_acquire(1).is_ok()),
        )
        .contender(
            "governor, std",
            checks(move || theirs_on_std.check().is_ok()),
        )
        .contender(
            "SlidingWindowLimiter, quanta",
            checks(move || window.try_acquire(1).is_ok()),
        )
        .ratio("TokenBucketLimiter, quanta", "governor, quanta", 1.1)
        .ratio("TokenBucketLimiter, tokio", "governor, std", 1.1)
}

fn token_bucket() -> Group {
    let theirs = RateLimitLayer::new(u64::MAX, Duration::from_secs(1));
    let ours = TokenBucketLayer::new(QUOTA);
    let fast = TokenBucketLayer::with_clock(QUOTA, Clock::quanta());
    Group::new("token bucket")
        .contender("nothing", echoes(Echo))
        .contender("TokenBucket, tokio", echoes(ours.layer(Echo)))
        .contender("TokenBucket, quanta", echoes(fast.layer(Echo)))
        .contender("tower RateLimit", echoes(theirs.layer(Echo)))
        .ratio("TokenBucket, tokio", "tower RateLimit", 1.2)
        .ratio("TokenBucket, quanta", "tower RateLimit", 0.6)
}

/// A group of its own, since tower_governor requires axum's body: with a key per peer, its default, and with one key.
fn tower_governor() -> Group {
    let ours = TokenBucketLayer::with_clock(QUOTA, Clock::quanta()).respond();
    let global = GovernorConfigBuilder::default()
        .key_extractor(GlobalKeyExtractor)
        .per_nanosecond(1)
        .burst_size(PLENTY)
        .finish()
        .expect("a configuration");
    let global: GovernorLayer<_, _, Body> = GovernorLayer::new(global);
    let by_peer = GovernorConfigBuilder::default()
        .per_nanosecond(1)
        .burst_size(PLENTY)
        .finish()
        .expect("a configuration");
    let by_peer: GovernorLayer<_, _, Body> = GovernorLayer::new(by_peer);
    Group::new("token bucket in front of axum's body")
        .contender("nothing", calls_from_peer(nothing::<Body>()))
        .contender(
            "TokenBucket, quanta",
            calls_from_peer(ours.layer(nothing::<Body>())),
        )
        .contender(
            "tower_governor",
            calls_from_peer(by_peer.layer(nothing::<Body>())),
        )
        .contender(
            "tower_governor, one key",
            calls_from_peer(global.layer(nothing::<Body>())),
        )
        .added("TokenBucket, quanta", "tower_governor", "nothing", 0.5)
        .added(
            "TokenBucket, quanta",
            "tower_governor, one key",
            "nothing",
            1.0,
        )
}

fn sliding_window() -> Group {
    // A short period, so that the units of a small quota come back in time.
    let log =
        SlidingWindowLayer::with_clock(Quota::new(4_000, Duration::from_nanos(1)), Clock::quanta());
    let ring = SlidingWindowLayer::with_clock(QUOTA, Clock::quanta());
    let bucket = TokenBucketLayer::with_clock(QUOTA, Clock::quanta());
    Group::new("sliding window")
        .contender("SlidingWindow of 4,000, quanta", echoes(log.layer(Echo)))
        .contender("SlidingWindow of 10⁹, quanta", echoes(ring.layer(Echo)))
        .contender("TokenBucket, quanta", echoes(bucket.layer(Echo)))
}

fn concurrency() -> Group {
    let ours = ConcurrencyLayer::new(1_000);
    let adaptive = ConcurrencyLayer::adaptive(Adaptive::gradient());
    let theirs = ConcurrencyLimitLayer::new(1_000);
    Group::new("concurrency")
        .contender("Concurrency", echoes(ours.until_response().layer(Echo)))
        .contender(
            "Concurrency, adaptive",
            echoes(adaptive.until_response().layer(Echo)),
        )
        .contender("tower ConcurrencyLimit", echoes(theirs.layer(Echo)))
        .ratio("Concurrency", "tower ConcurrencyLimit", 1.2)
}

fn retry() -> Group {
    let theirs = RetryLayer::new(Budgeted(Arc::new(TpsBudget::default())));
    let ours = RetryAfterBackoffLayer::new();
    Group::new("retry on success")
        .contender("nothing", calls(nothing::<String>()))
        .contender("RetryAfterBackoff", calls(ours.layer(nothing::<String>())))
        .contender(
            "tower Retry, budget",
            calls(theirs.layer(nothing::<String>())),
        )
        .ratio("RetryAfterBackoff", "tower Retry, budget", 1.2)
}

fn fallback() -> Group {
    let sorry = FallbackLayer::value(Response::new(String::new()));
    let backup = FallbackLayer::new(nothing::<String>());
    Group::new("fallback that is not needed")
        .contender("nothing", calls(nothing::<String>()))
        .contender("the request's clone", calls(Cloning(nothing::<String>())))
        .contender(
            "Fallback to a value",
            calls(sorry.layer(nothing::<String>())),
        )
        .contender(
            "Fallback to a service",
            calls(backup.layer(nothing::<String>())),
        )
        .nanoseconds("Fallback to a value", "nothing", 10.0)
        .nanoseconds("Fallback to a service", "the request's clone", 10.0)
}

/// Clones its request, as a layer that may have to send it twice must.
struct Cloning<S>(S);

impl<S: Service<Request<()>>> Service<Request<()>> for Cloning<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<()>) -> S::Future {
        black_box(request.clone());
        self.0.call(request)
    }
}

fn stack() -> Group {
    let five = |clock: fn() -> Clock| {
        ServiceBuilder::new()
            .layer(FallbackLayer::from_fn(apology))
            .layer(RetryAfterBackoffLayer::new())
            .layer(ConcurrencyLayer::new(1_000))
            .layer(SlidingWindowLayer::with_clock(QUOTA, clock()))
            .layer(TokenBucketLayer::with_clock(QUOTA, clock()))
            .service(nothing::<String>())
    };
    let four = ServiceBuilder::new()
        .layer(RetryLayer::new(Budgeted(Arc::new(TpsBudget::default()))))
        .concurrency_limit(1_000)
        .timeout(Duration::from_secs(60))
        .service(nothing::<String>());
    let limited = ServiceBuilder::new()
        .rate_limit(u64::MAX, Duration::from_secs(1))
        .service(four.clone());
    Group::new("a whole stack")
        .contender("our five, tokio", calls(five(Clock::tokio)))
        .contender("our five, quanta", calls(five(Clock::quanta)))
        .contender("tower's four", calls(limited))
        .ratio("our five, tokio", "tower's four", 1.0)
        .ratio("our five, quanta", "tower's four", 1.0)
}

fn apology(
    _: Result<Response<GuardedBody<String, BodyPermit>>, BoxError>,
) -> Response<GuardedBody<String, BodyPermit>> {
    Response::new(GuardedBody::from(String::from("sorry")))
}

/// A policy for tower's `Retry` as its documentation describes one: server errors are repeated within a budget.
#[derive(Clone)]
struct Budgeted(Arc<TpsBudget>);

impl<B, E> Policy<Request<()>, Response<B>, E> for Budgeted {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut Request<()>,
        result: &mut Result<Response<B>, E>,
    ) -> Option<Ready<()>> {
        match result {
            Ok(response) if !response.status().is_server_error() => {
                self.0.deposit();
                None
            }
            _ => self.0.withdraw().then(|| ready(())),
        }
    }

    fn clone_request(&mut self, request: &Request<()>) -> Option<Request<()>> {
        Some(request.clone())
    }
}
