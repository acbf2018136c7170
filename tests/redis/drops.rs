//! Requests that are dropped while they ask.

use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tower_throttle::{Quota, Redis, SlidingWindowLimiter, TokenBucketLimiter};

use crate::{
    fleet::TIMEOUT,
    server::{Reply, Server},
};

/// The claims of a name that still count.
const CLAIMS: &str = "
local saved = redis.call('GET', KEYS[1])
local time = redis.call('TIME')
local now, count = time[1] * 1000000 + time[2], 0
local quotas, claims = struct.unpack('>I4I4', saved, 36)
local place = 48 + quotas
local last = place + claims
while place < last do
  local process, asked, expires, limits
  process, asked, expires, limits, place = struct.unpack('>I7I7I7B', saved, place)
  place = place + 7 * limits
  if expires > now then count = count + 1 end
end
return count";

/// Of each process.
const DROPS: u64 = 5_000;
const LIMIT: u64 = 20_000;
const HOUR: Duration = Duration::from_secs(3_600);
/// Units are granted for a 128th of it.
const PERIOD: Duration = Duration::from_secs(12);

/// Takes a unit, unless that takes more than so many polls. Returns the units taken.
macro_rules! take_or_drop {
    ($limiter:expr, $polls:expr) => {
        tokio::select! {
            biased;
            taken = $limiter.acquire(1) => u64::from(taken.is_ok()),
            () = yields($polls) => 0,
        }
    };
}

async fn yields(times: u32) {
    for _ in 0..times {
        tokio::task::yield_now().await;
    }
}

/// Drops requests of two processes at random times, and checks that all units are there.
macro_rules! drop_requests {
    ($Limiter:ident, $name:literal, $period:expr, $pause:expr) => {{
        let server = Server::start();
        let quota = Quota::new(LIMIT, $period);
        let redis = [
            Redis::connect(&server.url()).await.unwrap(),
            Redis::connect(&server.url()).await.unwrap(),
        ];
        let [first, second] = [0, 1].map(|n: usize| $Limiter::new(quota).shared(&redis[n], $name));
        assert!(first.acquire(1).await.is_ok() && second.acquire(1).await.is_ok());
        tokio::time::sleep(TIMEOUT * 2).await;
        let tasks = Handle::current().metrics().num_alive_tasks();

        let mut taken = 2;
        let start = Instant::now();
        for _ in 0..DROPS / 100 {
            // What was granted lapses, so that the next ones have to ask.
            tokio::time::sleep($pause).await;
            let mut dropped = Vec::new();
            for _ in 0..100 {
                let (first, second) = (first.clone(), second.clone());
                let [polls, others] = [(); 2].map(|()| rand::random_range(0..30));
                dropped.push(tokio::spawn(async move {
                    take_or_drop!(first, polls) + take_or_drop!(second, others)
                }));
            }
            for dropped in dropped {
                taken += dropped.await.unwrap();
            }
        }
        let dropped = 2 * DROPS + 2 - taken;
        println!("{}: {taken} taken, {dropped} dropped", $name);

        tokio::time::sleep(Duration::from_secs(1)).await;
        let claims = server.command(&["EVAL", CLAIMS, "1", concat!("tt:2:", $name)]);
        assert_eq!(claims, Reply::Integer(0));
        // Those that give back what lapses may still sleep.
        let alive = Handle::current().metrics().num_alive_tasks();
        assert!(alive <= tasks + 2, "{alive} after {tasks}");

        // A busy machine may lose replies, and what they granted counts as used.
        let lost = redis.iter().map(|redis| redis.status().errors).sum::<u64>() * LIMIT / 8;
        assert!($pause.is_zero() || dropped > DROPS / 4, "{dropped}");
        (server, first, taken, lost, start)
    }};
}

/// Checks that as many units are left as were not taken: not fewer, and at most `slack` more.
macro_rules! check_left {
    ($limiter:expr, $taken:expr, $lost:expr, $slack:literal) => {{
        let left = LIMIT - $taken;
        // The first hears what has come back.
        let _ = $limiter.acquire_within(LIMIT, Duration::ZERO).await;
        tokio::time::sleep(TIMEOUT).await;
        if $lost == 0 {
            assert!(
                $limiter.acquire_within(left, Duration::ZERO).await.is_ok(),
                "{left}"
            );
            assert!(
                $limiter
                    .acquire_within(1 + $slack, Duration::ZERO)
                    .await
                    .is_err(),
                "{left}"
            );
        }
    }};
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_requests_take_nothing_of_a_window() {
    let (_server, limiter, taken, mut lost, start) =
        drop_requests!(SlidingWindowLimiter, "window", PERIOD, PERIOD / 120);
    // The first may have come back on a machine that is busy.
    lost += u64::from(start.elapsed() > PERIOD - TIMEOUT * 3);
    check_left!(limiter, taken, lost, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_requests_take_nothing_of_a_bucket() {
    let (_server, limiter, taken, lost, _) =
        drop_requests!(TokenBucketLimiter, "bucket", HOUR, Duration::ZERO);
    // What refills within ten seconds.
    check_left!(limiter, taken, lost, 60);
}

/// Requests that wait for a limit that is used up leave neither a claim nor a task.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropped_waiters_leave_nothing() {
    let server = Server::start();
    let redis = Redis::connect(&server.url()).await.unwrap();
    let period = Duration::from_secs(4);
    let limiter = SlidingWindowLimiter::new(Quota::new(100, period)).shared(&redis, "window");
    let start = Instant::now();
    limiter.acquire(100).await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let tasks = Handle::current().metrics().num_alive_tasks();
    for _ in 0..50 {
        let dropped = (0..100).map(|_| {
            let limiter = limiter.clone();
            let polls = rand::random_range(0..200);
            tokio::spawn(async move { take_or_drop!(limiter, polls) })
        });
        for taken in futures::future::join_all(dropped).await {
            // Unless the machine is so busy that they have come back.
            assert!(taken.unwrap() == 0 || start.elapsed() >= period);
        }
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(limiter.waiting(), 0);
    let claims = server.command(&["EVAL", CLAIMS, "1", "tt:2:window"]);
    assert_eq!(claims, Reply::Integer(0));
    let alive = Handle::current().metrics().num_alive_tasks();
    assert!(alive <= tasks + 2, "{alive} after {tasks}");
    tokio::time::sleep(period).await;
    assert!(limiter.acquire_within(100, Duration::ZERO).await.is_ok());
}
