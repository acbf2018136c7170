//! One limit in a server of Redis, which this program starts, against a command or a script for each request.
//!
//! The client has one thread and one connection. The server has another core, if there is one.

#![allow(clippy::disallowed_types, reason = "what is measured is real time")]

use std::{
    future::Future,
    pin::Pin,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use http::{Request, Response};
use redis::{
    AsyncConnectionConfig,
    aio::{ConnectionManager, ConnectionManagerConfig, MultiplexedConnection},
};
use tokio::runtime::Runtime;
use tower::{Layer, ServiceExt};
use tower_rate_limit_redis::{KeyResolver, RateLimitLayer};
use tower_throttle::{Quota, Redis, TokenBucketLimiter};
use trypema::{
    BucketSize, RateLimit, RateLimiterBuilder, WindowSize,
    hybrid::{HybridRateLimiterProvider, SyncInterval},
    redis::{RedisKey, RedisRateLimiterProvider},
};

use crate::{
    calls::nothing,
    measure::{IS_TRIAL, median},
    server::{INSTALL, Server, program},
};

pub(crate) const NAME: &str = "shared: a limit in Redis";

const ROUNDS: usize = if IS_TRIAL { 1 } else { 15 };
const TASKS: u32 = 64;

/// A rate at which nothing waits.
const PER_SECOND: u64 = 10_000_000;

/// What a script costs at least.
const SCRIPT: &str = "return 1";

const PING: &str = "PING, 64 tasks";
const ONE_PING: &str = "PING, 1 task";
const EACH: &str = "a script per request, 64 tasks";
const ONE_EACH: &str = "a script per request, 1 task";
const SHARED: &str = "TokenBucketLimiter::shared, 64 tasks";
const ONE_SHARED: &str = "TokenBucketLimiter::shared, 1 task";
const TOWER: &str = "tower-rate-limit-redis, 64 tasks";
const TRYPEMA: &str = "trypema, Redis, 64 tasks";
const HYBRID: &str = "trypema, hybrid, 64 tasks";

/// Rates of requests: name, name, and the least ratio of the first to the second.
const GOALS: [(&str, &str, f64); 4] = [
    (SHARED, EACH, 20.0),
    (ONE_SHARED, ONE_EACH, 20.0),
    (SHARED, TOWER, 20.0),
    (SHARED, HYBRID, 1.0),
];

type Requests = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Makes as many requests as it is told, one after the other.
type Task = Box<dyn Fn(u32) -> Requests>;

struct Contender {
    name: &'static str,
    tasks: u32,
    /// Of each task, in a round.
    requests: u32,
    task: Task,
}

pub(crate) fn run(runtime: &Runtime) {
    println!("{NAME}");
    let Some(server) = start_server() else {
        return;
    };
    runtime.block_on(async {
        let contenders = contenders(&server.url()).await;
        // A round of each, so that scripts are loaded and connections open.
        for contender in &contenders {
            contender.nanoseconds().await;
        }
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            let mut times = vec![0.0; contenders.len()];
            for turn in 0..contenders.len() {
                let number = (turn + round) % contenders.len();
                times[number] = contenders[number].nanoseconds().await;
            }
            rounds.push(times);
        }
        print(&contenders, &rounds);
    });
}

/// Starts a server, or says what installs it.
pub(crate) fn start_server() -> Option<Server> {
    let program = program();
    if Command::new(&program).arg("--version").output().is_err() {
        println!("  no `{program}` on this machine: {INSTALL}");
        return None;
    }
    Some(Server::start())
}

fn print(contenders: &[Contender], rounds: &[Vec<f64>]) {
    println!("{:<52} {:>12} {:>12}", "", "requests/s", "best round");
    for (number, Contender { name, .. }) in contenders.iter().enumerate() {
        let rate = |nanos: f64| 1e9 / nanos;
        let best = rounds.iter().map(|round| round[number]);
        let best = rate(best.fold(f64::MAX, f64::min));
        let rate = rate(median(rounds.iter().map(|round| round[number])));
        println!("  {name:<50} {rate:>12.0} {best:>12.0}");
    }
    let place = |wanted: &str| {
        let place = contenders.iter().position(|other| other.name == wanted);
        place.unwrap_or_else(|| panic!("no contender {wanted}"))
    };
    println!("{:<72} {:>8} {:>8}", "", "ratio", "goal");
    for (ours, theirs, goal) in GOALS {
        let (ours_at, theirs_at) = (place(ours), place(theirs));
        let ratio = median(rounds.iter().map(|round| round[theirs_at] / round[ours_at]));
        let verdict = if ratio >= goal { "" } else { "  missed" };
        let name = format!("{ours} / {theirs}");
        println!("  {name:<70} {ratio:>8.1} {goal:>8.1}{verdict}");
    }
}

async fn contenders(url: &str) -> Vec<Contender> {
    let client = redis::Client::open(url).expect("a URL");
    let connection = connect(&client).await;
    let sha = redis::cmd("SCRIPT").arg("LOAD").arg(SCRIPT).to_owned();
    let sha: String = sha
        .query_async(&mut connection.clone())
        .await
        .expect("SCRIPT LOAD");
    let sha: Arc<str> = sha.into();

    let config = ConnectionManagerConfig::new().set_response_timeout(None);
    let manager = client.get_connection_manager_with_config(config).await;
    let manager = manager.expect("a connection");

    let shared = Redis::connect(url).await.expect("a connection");
    let limiter = TokenBucketLimiter::new(Quota::per_second(PER_SECOND)).shared(&shared, "hot");

    let new = |name, tasks, requests, task| Contender {
        name,
        tasks,
        requests: if IS_TRIAL { 5 } else { requests },
        task,
    };
    vec![
        new(ONE_PING, 1, 1_000, ping(connection.clone())),
        new(ONE_EACH, 1, 1_000, script(connection.clone(), sha.clone())),
        new(ONE_SHARED, 1, 100_000, acquire(limiter.clone())),
        new(PING, TASKS, 200, ping(connection.clone())),
        new(EACH, TASKS, 200, script(connection, sha)),
        new(SHARED, TASKS, 10_000, acquire(limiter)),
        new(TOWER, TASKS, 100, tower_rate_limit_redis(url).await),
        new(TRYPEMA, TASKS, 20, trypema_redis(manager.clone())),
        new(HYBRID, TASKS, 5_000, trypema_hybrid(manager)),
    ]
}

/// Opens a connection that is no limiter's.
pub(crate) async fn connect(client: &redis::Client) -> MultiplexedConnection {
    let config = AsyncConnectionConfig::new().set_response_timeout(None);
    let connection = client
        .get_multiplexed_async_connection_with_config(&config)
        .await;
    connection.expect("a connection")
}

/// Sends one `PING`.
pub(crate) async fn send_ping(connection: &mut MultiplexedConnection) {
    let pong: String = redis::cmd("PING")
        .query_async(connection)
        .await
        .expect("PONG");
    assert_eq!(pong, "PONG");
}

fn ping(connection: MultiplexedConnection) -> Task {
    Box::new(move |requests| {
        let mut connection = connection.clone();
        Box::pin(async move {
            for _ in 0..requests {
                send_ping(&mut connection).await;
            }
        })
    })
}

fn script(connection: MultiplexedConnection, sha: Arc<str>) -> Task {
    Box::new(move |requests| {
        let (mut connection, sha) = (connection.clone(), sha.clone());
        Box::pin(async move {
            for _ in 0..requests {
                let mut call = redis::cmd("EVALSHA");
                call.arg(&*sha).arg(1).arg("hot");
                let one: u64 = call.query_async(&mut connection).await.expect("one");
                assert_eq!(one, 1);
            }
        })
    })
}

fn acquire(limiter: TokenBucketLimiter) -> Task {
    Box::new(move |requests| {
        let limiter = limiter.clone();
        Box::pin(async move {
            for _ in 0..requests {
                limiter.acquire(1).await.expect("nothing bounds the wait");
            }
        })
    })
}

/// One key for as many requests as a bucket of that crate holds: at most 65,535, and 1,000 more each second.
#[derive(Debug, Clone)]
struct Keys(Arc<AtomicU64>);

impl KeyResolver for Keys {
    type Key = String;
    type ErrorBody = String;

    fn key<T>(&self, _: &Request<T>) -> Result<String, Response<String>> {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        Ok(format!("hot:{}", number / u64::from(u16::MAX)))
    }
}

async fn tower_rate_limit_redis(url: &str) -> Task {
    let client = older_redis::Client::open(url).expect("a URL");
    let connection = client.get_multiplexed_async_connection().await;
    let layer = RateLimitLayer::builder()
        .conn(connection.expect("a connection"))
        .key_resolver(Keys(Arc::default()))
        .capacity(u16::MAX)
        .emission_interval(Duration::from_millis(1))
        .build();
    let service = layer.layer(nothing::<String>());
    Box::new(move |requests| {
        let service = service.clone();
        Box::pin(async move {
            for _ in 0..requests {
                let response = service.clone().oneshot(Request::new(())).await;
                assert!(response.expect("a response").status().is_success());
            }
        })
    })
}

fn trypema_redis(connection: ConnectionManager) -> Task {
    let provider = RedisRateLimiterProvider::builder(connection)
        .window_size(WindowSize::seconds_or_panic(1))
        .bucket_size(BucketSize::milliseconds_or_panic(10))
        .build()
        .expect("a provider");
    Box::new(move |requests| {
        let provider = provider.clone();
        Box::pin(async move {
            let key = RedisKey::try_from("hot").expect("a key");
            let rate = RateLimit::per_second_or_panic(PER_SECOND as f64);
            for _ in 0..requests {
                let decision = provider.absolute().inc(&key, &rate, 1).await;
                decision.expect("a decision");
            }
        })
    })
}

fn trypema_hybrid(connection: ConnectionManager) -> Task {
    let provider = HybridRateLimiterProvider::builder(connection)
        .window_size(WindowSize::seconds_or_panic(1))
        .bucket_size(BucketSize::milliseconds_or_panic(10))
        .sync_interval(SyncInterval::milliseconds_or_panic(10))
        .build()
        .expect("a provider");
    Box::new(move |requests| {
        let provider = provider.clone();
        Box::pin(async move {
            let key = RedisKey::try_from("hot-hybrid").expect("a key");
            let rate = RateLimit::per_second_or_panic(PER_SECOND as f64);
            for _ in 0..requests {
                let decision = provider.absolute().inc(&key, &rate, 1).await;
                decision.expect("a decision");
            }
        })
    })
}

// ===== impl Contender =====

impl Contender {
    /// Runs all tasks once, and returns the nanoseconds per request.
    async fn nanoseconds(&self) -> f64 {
        let start = Instant::now();
        let tasks = (0..self.tasks).map(|_| (self.task)(self.requests));
        for done in join_all(tasks.map(tokio::spawn)).await {
            done.expect("no panic");
        }
        start.elapsed().as_secs_f64() * 1e9 / f64::from(self.tasks * self.requests)
    }
}
