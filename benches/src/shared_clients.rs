//! One call for each request: clients that this process does not know, against `PING`.
//!
//! 50 connections, one call at a time on each. The client has one thread.

#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use futures::future::join_all;
use redis::aio::MultiplexedConnection;
use tokio::runtime::Runtime;
use tower_throttle::{
    Quota, Redis, SlidingWindowLayer,
    key::ClientKey,
    per_key::{Kind, PerKeyLimiter},
};

use crate::{
    measure::{IS_TRIAL, median},
    shared::{connect, send_ping, start_server},
};

pub(crate) const NAME: &str = "shared: a call for each request";

const ROUNDS: usize = if IS_TRIAL { 1 } else { 15 };
const CONNECTIONS: usize = 50;
const CALLS: usize = if IS_TRIAL { 2 } else { 100 };
const KEYS: usize = 1 << 20;
const PER_MINUTE: Quota = Quota::per_minute(60);

/// The name, the least rate, and the largest p50 and p99, as ratios to `PING`.
const GOALS: [(&str, f64, f64, f64); 4] = [
    ("PING", 1.0, 1.0, 1.0),
    ("a bucket", 0.7, 1.3, 1.6),
    ("a window", 0.7, 1.5, 1.6),
    ("three limits", 0.45, 1.6, 2.0),
];

type Call = Box<dyn Fn() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send + Sync>;

type Figure = fn(&Figures) -> f64;

/// What a round shows: calls per second, and microseconds of a call.
#[derive(Clone, Copy)]
struct Figures {
    rate: f64,
    p50: f64,
    p99: f64,
}

pub(crate) fn run(runtime: &Runtime) {
    println!("{NAME}");
    for connections in [1, CONNECTIONS] {
        let Some(server) = start_server() else {
            return;
        };
        runtime.block_on(compare(&server.url(), connections));
    }
}

async fn compare(url: &str, connections: usize) {
    let contenders = [
        pings(url, connections).await,
        limiters(url, connections, bucket).await,
        limiters(url, connections, window).await,
        limiters(url, connections, three).await,
    ];
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let mut figures = [None; 4];
        for turn in 0..contenders.len() {
            let number = (turn + round) % contenders.len();
            figures[number] = Some(measure(&contenders[number]).await);
        }
        // The first round loads scripts and opens connections.
        if round > 0 {
            rounds.push(figures.map(|figures| figures.expect("each had a turn")));
        }
    }
    print(connections, &rounds);
}

fn print(connections: usize, rounds: &[[Figures; 4]]) {
    let head = format!("{connections} at a time");
    println!(
        "  {head:<16} {:>9} {:>7} {:>5} {:>8} {:>7} {:>5} {:>8} {:>7} {:>5}",
        "calls/s", "ratio", "goal", "p50, us", "ratio", "goal", "p99, us", "ratio", "goal"
    );
    for (number, (name, rate, p50, p99)) in GOALS.into_iter().enumerate() {
        print!("  {name:<16}");
        let figures: [(Figure, f64); 3] =
            [(|of| of.rate, rate), (|of| of.p50, p50), (|of| of.p99, p99)];
        for (figure, goal) in figures {
            let value = median(rounds.iter().map(|round| figure(&round[number])));
            let ratio = median(
                rounds
                    .iter()
                    .map(|round| figure(&round[number]) / figure(&round[0])),
            );
            print!(" {value:>8.0} {ratio:>7.2} {goal:>5.2}");
        }
        println!();
    }
}

/// Makes the calls of each connection one after the other.
async fn measure(calls: &Arc<[Call]>) -> Figures {
    let start = Instant::now();
    let tasks = (0..calls.len()).map(|number| {
        let calls = Arc::clone(calls);
        tokio::spawn(async move {
            let mut times = Vec::with_capacity(CALLS);
            for _ in 0..CALLS {
                let start = Instant::now();
                calls[number]().await;
                times.push(start.elapsed());
            }
            times
        })
    });
    let mut times: Vec<_> = join_all(tasks)
        .await
        .into_iter()
        .flat_map(|times| times.expect("no panic"))
        .collect();
    let elapsed = start.elapsed();
    times.sort_unstable();
    let micros = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e6;
    Figures {
        rate: times.len() as f64 / elapsed.as_secs_f64(),
        p50: micros(50),
        p99: micros(99),
    }
}

async fn pings(url: &str, connections: usize) -> Arc<[Call]> {
    let client = redis::Client::open(url).expect("a URL");
    let mut calls = Vec::new();
    for _ in 0..connections {
        calls.push(ping(connect(&client).await));
    }
    calls.into()
}

fn ping(connection: MultiplexedConnection) -> Call {
    Box::new(move || {
        let mut connection = connection.clone();
        Box::pin(async move { send_ping(&mut connection).await })
    })
}

/// A limiter for each connection.
async fn limiters(url: &str, connections: usize, limiter: fn(&Redis) -> Call) -> Arc<[Call]> {
    let mut calls = Vec::new();
    for _ in 0..connections {
        calls.push(limiter(&Redis::connect(url).await.expect("a connection")));
    }
    calls.into()
}

fn bucket(redis: &Redis) -> Call {
    acquire(
        PerKeyLimiter::new(PER_MINUTE)
            .max_keys(KEYS)
            .shared(redis, "bucket"),
    )
}

fn window(redis: &Redis) -> Call {
    acquire(
        PerKeyLimiter::window(PER_MINUTE)
            .max_keys(KEYS)
            .shared(redis, "window"),
    )
}

fn three(redis: &Redis) -> Call {
    let limiter = PerKeyLimiter::new(PER_MINUTE)
        .and("hour", SlidingWindowLayer::new(Quota::per_hour(1_000)))
        .and("day", SlidingWindowLayer::new(Quota::per_day(10_000)));
    acquire(limiter.max_keys(KEYS).shared(redis, "three"))
}

/// Makes each call for a client that is new.
fn acquire<K: Kind>(limiter: PerKeyLimiter<K>) -> Call {
    static CLIENTS: AtomicU64 = AtomicU64::new(0);
    Box::new(move || {
        let limiter = limiter.clone();
        let client = ClientKey::from(CLIENTS.fetch_add(1, Ordering::Relaxed));
        Box::pin(async move {
            let permit = limiter.acquire(client, 1).await;
            permit.expect("the client's first request");
        })
    })
}
