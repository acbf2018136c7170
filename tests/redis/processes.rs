//! Four processes on one limit: this program, started again for each.

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tower_throttle::{Quota, Redis, SlidingWindowLimiter, TokenBucketLimiter};

use crate::{
    fleet::{Starts, burst, laps, units, used},
    server::Server,
};

/// What a child does: the variable of its environment.
const ROLE: &str = "THROTTLE_ROLE";

/// What a child has started, shared by its workers.
pub(crate) type Log = Arc<Mutex<Starts>>;

const TIME: Duration = Duration::from_secs(30);
const PROCESSES: usize = 4;

#[derive(Clone)]
enum Limiter {
    Bucket(TokenBucketLimiter),
    Window(SlidingWindowLimiter),
}

impl Limiter {
    /// Parses `kind/units/milliseconds/burst`.
    fn parse(text: &str, redis: &Redis) -> Self {
        let parts: Vec<&str> = text.split('/').collect();
        let number = |part: usize| parts[part].parse::<u64>().unwrap();
        let quota = Quota::new(number(1), Duration::from_millis(number(2))).burst(number(3));
        match parts[0] {
            "bucket" => Self::Bucket(TokenBucketLimiter::new(quota).shared(redis, text)),
            _ => Self::Window(SlidingWindowLimiter::new(quota).shared(redis, text)),
        }
    }

    async fn acquire(&self, cost: u64) {
        match self {
            Self::Bucket(limiter) => drop(limiter.acquire(cost).await.unwrap()),
            Self::Window(limiter) => drop(limiter.acquire(cost).await.unwrap()),
        }
    }
}

pub(crate) fn now() -> u128 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_nanos()
}

/// Runs the part of a child, with the words of its role, if this is one. Prints what it started.
pub(crate) fn in_child(run: impl AsyncFnOnce(&[&str], Log)) {
    let Ok(role) = env::var(ROLE) else {
        return;
    };
    let parts: Vec<&str> = role.split(' ').collect();
    let starts = Log::default();
    let runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = { runtime }.worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(run(&parts, starts.clone()));
    drop(runtime);
    for (at, units) in &*starts.lock().unwrap() {
        println!("start {at} {units}");
    }
}

/// Starts this program again, for the test of a child, with a role.
pub(crate) fn spawn(test: &str, role: String) -> Child {
    Command::new(env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(ROLE, role)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Runs in a child: `url limit cost workers milliseconds`.
#[test]
fn child() {
    in_child(async |parts, starts| {
        let number = |part: usize| parts[part].parse::<u64>().unwrap();
        let (cost, workers, time) = (number(2), number(3), Duration::from_millis(number(4)));
        let redis = Redis::connect(parts[0]).await.unwrap();
        let limiter = Limiter::parse(parts[1], &redis);
        for _ in 0..workers {
            let (limiter, starts) = (limiter.clone(), starts.clone());
            tokio::spawn(async move {
                loop {
                    limiter.acquire(cost).await;
                    starts.lock().unwrap().push((now(), cost));
                }
            });
        }
        tokio::time::sleep(time).await;
        println!("# {}", redis.status());
    });
}

/// Waits for a child, and returns what it started.
pub(crate) fn starts(mut child: Child) -> Starts {
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut starts = Starts::new();
    for line in lines.map(Result::unwrap) {
        if let Some(start) = line.strip_prefix("start ") {
            let (at, units) = start.split_once(' ').unwrap();
            starts.push((at.parse().unwrap(), units.parse().unwrap()));
        } else if line.starts_with('#') {
            println!("{line}");
        }
    }
    assert!(child.wait().unwrap().success());
    starts
}

/// Runs four processes with costs and numbers of workers, and returns the starts of each.
fn run(server: &Server, limit: &str, loads: [(u64, u64); PROCESSES]) -> Vec<Starts> {
    let (url, millis) = (server.url(), TIME.as_millis());
    let children = loads.map(|(cost, workers)| {
        let role = format!("{url} {limit} {cost} {workers} {millis}");
        spawn("processes::child", role)
    });
    children.map(starts).into()
}

fn merged(all: &[Starts]) -> Starts {
    let mut merged = all.concat();
    merged.sort_unstable();
    merged
}

/// Uses up a window of `units` in 5 s.
fn use_up_a_window(units: usize) {
    let server = Server::start();
    let starts = merged(&run(
        &server,
        &format!("window/{units}/5000/0"),
        [(1, 16); 4],
    ));
    let (least, mean) = laps(&starts, units, Duration::from_secs(5));
    let used = 1.0 / mean;
    println!("window of {units} in 5 s: least lap {least:.4}, used {used:.4}");
    assert!(least >= 1.0, "{least}");
    assert!(used >= 0.98, "{used}");
}

#[test]
fn a_window_of_four_processes_is_never_over() {
    use_up_a_window(500);
}

#[test]
fn a_busy_window_of_four_processes_is_never_over() {
    use_up_a_window(10_000);
}

#[test]
fn a_bucket_of_four_processes_is_never_over() {
    let server = Server::start();
    let starts = merged(&run(&server, "bucket/1000/1000/6000", [(1, 16); 4]));
    let (burst, used) = (burst(&starts, 1_000_000), used(&starts, 1_000.0, 6_000));
    println!("bucket of 1,000/s, burst 6,000: burst {burst}, used {used:.4}");
    // A hold of 47 ms, and 10 ms of lateness.
    assert!(burst <= 6_000 + 57 + 1, "{burst}");
    assert!(used >= 0.98, "{used}");
}

#[test]
fn a_large_request_gets_its_share_among_small_ones() {
    let server = Server::start();
    let loads = [(10, 16), (10, 16), (10, 16), (900, 1)];
    let all = run(&server, "bucket/1000/1000/1000", loads);
    let (large, starts) = (units(&all[3]), merged(&all));
    let total = units(&starts);
    println!(
        "large {large} of {total}, used {:.4}",
        used(&starts, 1_000.0, 1_000)
    );
    // A tenth of a quarter.
    assert!(large * 40 >= total, "{large} of {total}");
}
