//! What limits do while the server is away.

use std::{
    convert::Infallible,
    time::{Duration, Instant},
};

use http::{Request, Response, StatusCode, header::RETRY_AFTER};
use tokio::time::sleep;
use tower::{Layer, ServiceExt, service_fn};
use tower_throttle::{
    Quota, Reason, Redis, SlidingWindowLayer, SlidingWindowLimiter, TokenBucketLimiter, WhenDown,
};

use crate::{
    fleet::{Fleet, Report, TIMEOUT, between, fullest},
    server::Server,
};

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn connect(server: &Server, when_down: WhenDown) -> Redis {
    let redis = Redis::connect(&server.url()).await.unwrap();
    redis.when_down(when_down)
}

/// Takes units one by one without waiting, up to `most`, and returns how many.
async fn take(limiter: &SlidingWindowLimiter, most: u64) -> u64 {
    for taken in 0..most {
        if limiter.acquire_within(1, Duration::ZERO).await.is_err() {
            return taken;
        }
    }
    most
}

/// Waits until the process knows whether the server is there.
async fn until_connected(redis: &Redis, is_connected: bool) {
    let start = Instant::now();
    while redis.status().is_connected != is_connected {
        assert!(
            start.elapsed() < Duration::from_secs(10),
            "{}",
            redis.status()
        );
        sleep(millis(10)).await;
    }
}

#[test]
fn each_process_keeps_to_its_share() {
    const LIMIT: u64 = 100;
    let period = Duration::from_secs(2);
    let mut server = Server::start();
    let fleet = Fleet::new();
    let processes = fleet.connect(&server, 2, |redis| redis.when_down(WhenDown::Local));
    let logs = [fleet.log(), fleet.log()];
    for (redis, log) in processes.iter().zip(&logs) {
        let limiter = SlidingWindowLimiter::new(Quota::new(LIMIT, period)).shared(redis, "n");
        fleet.wait_for(&limiter, 4, log);
        fleet.try_for(&limiter, 1, log);
    }
    fleet.run_for(Duration::from_secs(2));
    let down = fleet.now();
    server.kill();
    fleet.run_for(Duration::from_secs(5));
    let back = fleet.now();
    server.restart_empty();
    fleet.run_for(Duration::from_secs(4));

    let mut report = Report::new("shares");
    report.check_calls(&fleet);
    let late = fleet.latest();
    let period = period.saturating_sub(late);
    let nanos = period.as_nanos();
    for (log, redis) in logs.iter().zip(&processes) {
        let starts = between(&log.starts(), down + nanos, back);
        let most = fullest(&starts, period);
        report.check(most <= LIMIT / 2, format!("fullest alone {most}"));
        let units = starts.len() as f64;
        let used = units / (LIMIT / 2) as f64 / ((back - down - nanos) as f64 / nanos as f64);
        // A period is used up at its start, and the last one may just have begun.
        report.check(used >= 0.6, format!("used alone {used:.2}"));
        let status = redis.status();
        report.check(
            status.is_connected && status.restores > 0,
            status.to_string(),
        );
    }
    let mut starts = [logs[0].starts(), logs[1].starts()].concat();
    starts.sort_unstable();
    let all = fullest(&starts, period);
    let alone = fullest(&between(&starts, down + nanos, back), period);
    // A process probes the server at least each second.
    let after = between(&starts, back + millis(1_500).as_nanos(), u128::MAX);
    let after = fullest(&after, period);
    report.check(
        all <= 2 * LIMIT && alone <= LIMIT && after <= LIMIT,
        format!("fullest {all}, alone {alone}, after {after}"),
    );
    report.end();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_admitted_alone_is_reported() {
    let server = Server::start();
    let redis = connect(&server, WhenDown::Local).await;
    let limiter = SlidingWindowLimiter::new(Quota::per_minute(100)).shared(&redis, "n");
    assert_eq!(take(&limiter, 10).await, 10);
    sleep(TIMEOUT).await;
    server.freeze();
    until_connected(&redis, false).await;
    assert_eq!(take(&limiter, 50).await, 50);
    server.unfreeze();
    until_connected(&redis, true).await;
    sleep(millis(1_000)).await;
    assert_eq!(redis.status().restores, 1);

    // Another process finds what is left.
    let other = connect(&server, WhenDown::Local).await;
    let limiter = SlidingWindowLimiter::new(Quota::per_minute(100)).shared(&other, "n");
    assert_eq!(take(&limiter, 100).await, 40);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn units_of_the_server_do_not_add_to_a_share() {
    let mut server = Server::start();
    let redis = connect(&server, WhenDown::Local).await;
    let other = connect(&server, WhenDown::Local).await;
    let quota = Quota::per_hour(1_000);
    let limiter = TokenBucketLimiter::new(quota).shared(&redis, "n");
    let start = Instant::now();
    let mut taken = 0;
    // The processes hear of each other at the next beat.
    while redis.status().processes < 2 || start.elapsed() < TIMEOUT {
        limiter.acquire(1).await.unwrap();
        taken += 1;
        if taken == 300 {
            sleep(TIMEOUT * 3).await;
        }
        assert!(taken < 500, "{}", redis.status());
    }
    // Many were granted ahead of need, and are not spent.
    server.kill();
    while limiter.acquire_within(1, Duration::ZERO).await.is_ok() {
        taken += 1;
        assert!(taken < 2_000);
    }
    // Those that were in flight as the server ended are not counted.
    assert!(taken <= 500 + 1_000 / 8, "{taken} of 500");
    drop(other);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closed_admits_nothing() {
    let mut server = Server::start();
    let redis = connect(&server, WhenDown::Closed).await;
    let layer = SlidingWindowLayer::new(Quota::per_minute(100)).shared(&redis, "n");
    let limiter = layer.limiter().clone();
    let service = layer.respond().layer(service_fn(|_: Request<()>| async {
        Ok::<_, Infallible>(Response::new(String::new()))
    }));
    assert_eq!(take(&limiter, 10).await, 10);
    let response = service.clone().oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);

    server.kill();
    until_connected(&redis, false).await;
    // What was granted before may still be spent, for a hold.
    sleep(TIMEOUT).await;
    for max_wait in [Duration::ZERO, millis(300)] {
        let rejected = limiter.acquire_within(1, max_wait).await.unwrap_err();
        assert_eq!(rejected.reason(), Reason::Unreachable);
        let wait = rejected.retry_after().unwrap();
        assert!(
            !wait.is_zero() && wait <= Duration::from_secs(1),
            "{wait:?}"
        );
    }
    let response = service.oneshot(Request::new(())).await.unwrap();
    assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(response.headers()[RETRY_AFTER], "1");

    // One that may wait, waits for the server.
    let waiting = tokio::spawn(async move { limiter.acquire(1).await.is_ok() });
    sleep(millis(1_500)).await;
    assert!(!waiting.is_finished());
    server.restart_empty();
    let start = Instant::now();
    assert!(waiting.await.unwrap());
    // A probe each second, and a second in which all processes report.
    let took = start.elapsed();
    println!("closed: admitted {took:?} after the server was back");
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn open_admits_all() {
    let mut server = Server::start();
    let redis = connect(&server, WhenDown::Open).await;
    let limiter = SlidingWindowLimiter::new(Quota::per_minute(100)).shared(&redis, "n");
    assert_eq!(take(&limiter, 10).await, 10);
    server.kill();
    until_connected(&redis, false).await;
    sleep(TIMEOUT).await;
    assert_eq!(take(&limiter, 1_000).await, 1_000);
    server.restart_empty();
    until_connected(&redis, true).await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(take(&limiter, 1).await, 0);
    assert!(redis.status().restores > 0);
}
