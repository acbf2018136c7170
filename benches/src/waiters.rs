//! Many requests that wait for one limit: how long they take, and how much of a core they use.

#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

use std::{
    future::Future,
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use cpu_time::ProcessTime;
use futures::future::join_all;
use governor::{Quota as TheirQuota, RateLimiter};
use tokio::runtime::Runtime;
use tower_throttle::{Quota, TokenBucketLimiter};

pub(crate) const NAME: &str = "10,000 waiters at 2,000 per second";

const WAITERS: u32 = 10_000;
const PER_SECOND: u32 = 2_000;

pub(crate) fn run(runtime: &'static Runtime) {
    println!("{NAME}");
    println!("{:<36} {:>10} {:>10}", "", "seconds", "CPU, %");

    let limiter = TokenBucketLimiter::new(Quota::per_second(PER_SECOND.into()).burst(1));
    measure(runtime, "TokenBucketLimiter", || {
        let limiter = limiter.clone();
        async move {
            limiter.acquire(1).await.expect("nothing bounds the wait");
        }
    });

    let one = NonZeroU32::MIN;
    let quota = TheirQuota::per_second(NonZeroU32::new(PER_SECOND).expect("not zero"));
    let limiter = Arc::new(RateLimiter::direct(quota.allow_burst(one)));
    measure(runtime, "governor, until_ready", || {
        let limiter = limiter.clone();
        async move { limiter.until_ready().await }
    });

    let limiter = leaky_bucket::RateLimiter::builder()
        .interval(Duration::from_millis(10))
        .refill((PER_SECOND / 100) as usize)
        .initial(0)
        .build();
    let limiter = Arc::new(limiter);
    measure(runtime, "leaky-bucket", || {
        let limiter = limiter.clone();
        async move { limiter.acquire_one().await }
    });
    let ideal = f64::from(WAITERS) / f64::from(PER_SECOND);
    println!("{:<36} {ideal:>10.3}", "  ideal");
}

/// Starts all waiters at once, each a task, and waits until all have started.
fn measure<F>(runtime: &Runtime, name: &str, wait: impl Fn() -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let (start, used) = (Instant::now(), ProcessTime::now());
    runtime.block_on(async {
        let tasks = (0..WAITERS).map(|_| tokio::spawn(wait()));
        for done in join_all(tasks).await {
            done.expect("no panic");
        }
    });
    let (elapsed, used) = (start.elapsed(), used.elapsed());
    let share = 100.0 * used.as_secs_f64() / elapsed.as_secs_f64();
    println!(
        "{:<36} {:>10.3} {share:>10.1}",
        format!("  {name}"),
        elapsed.as_secs_f64()
    );
}
