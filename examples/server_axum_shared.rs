//! Two replicas of an axum app behind one limit, in Redis: `cargo run --example server_axum_shared`.
//!
//! Starts `redis-server`, or the program that `THROTTLE_SERVER` names, for itself. If `REDIS_URL`
//! is set, it uses that server.

use std::{
    env,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use axum::{Router, routing::get};
use tokio::{
    net::TcpListener,
    sync::Mutex,
    time::{Instant, sleep},
};
use tower_throttle::{BoxError, Quota, Redis, SlidingWindowLayer};

use crate::server::{INSTALL, Server};

#[path = "../tests/redis/server.rs"]
mod server;

const UNITS: usize = 50;
const PERIOD: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(6);

/// When requests reached a handler.
type Starts = Arc<Mutex<Vec<Instant>>>;

/// One process of a deployment. Here they are in one program, each with a connection of its own.
struct Replica {
    redis: Redis,
    url: String,
    starts: Starts,
}

impl Replica {
    async fn serve(store: &str) -> Result<Self, BoxError> {
        // Another prefix for each run. A deployment has one prefix in all processes.
        let prefix = format!("server_axum_shared-{}", std::process::id());
        let redis = Redis::new(store)?.prefix(prefix);
        let limit = SlidingWindowLayer::new(Quota::new(UNITS as u64, PERIOD))
            .shared(&redis, "hello")
            .respond();

        let starts = Starts::default();
        let handler = {
            let starts = starts.clone();
            async move || {
                starts.lock().await.push(Instant::now());
                "hello\n"
            }
        };
        let app: Router = Router::new().route("/", get(handler)).layer(limit);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        tokio::spawn(async { axum::serve(listener, app).await });
        Ok(Self { redis, url, starts })
    }
}

/// Sends requests, one after the other, and returns the number of 429s.
async fn send(client: reqwest::Client, url: String) -> Result<usize, reqwest::Error> {
    let (end, mut rejected) = (Instant::now() + TIME, 0);
    while Instant::now() < end {
        let response = client.get(&url).send().await?;
        if response.status() == 429 {
            assert!(response.headers().contains_key("retry-after"));
            rejected += 1;
        } else {
            assert_eq!(response.status(), 200);
        }
        sleep(Duration::from_millis(10)).await;
    }
    Ok(rejected)
}

/// Returns the most requests in any period.
fn fullest(starts: &[Instant]) -> usize {
    let in_period = |(place, first): (usize, &Instant)| {
        let later = &starts[place..];
        later.partition_point(|start| *start - *first < PERIOD)
    };
    starts.iter().enumerate().map(in_period).max().unwrap_or(0)
}

#[tokio::main]
async fn main() -> Result<ExitCode, BoxError> {
    // Held to the end of `main`: dropping it kills the server.
    let (_server, store) = match env::var("REDIS_URL") {
        Ok(url) => (None, url),
        Err(_) => {
            let program = server::program();
            if Command::new(&program).arg("--version").output().is_err() {
                eprintln!("no `{program}` on this machine: {INSTALL}");
                return Ok(ExitCode::from(2));
            }
            let server = Server::start();
            let url = server.url();
            (Some(server), url)
        }
    };
    let replicas = [Replica::serve(&store).await?, Replica::serve(&store).await?];

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let [first, second] = [&replicas[0], &replicas[1]].map(|replica| {
        // Two clients of each replica.
        let send = || tokio::spawn(send(client.clone(), replica.url.clone()));
        [send(), send()]
    });

    println!("           admitted  rejected");
    let mut all = Vec::new();
    for (number, (replica, clients)) in replicas.iter().zip([first, second]).enumerate() {
        let mut rejected = 0;
        for client in clients {
            rejected += client.await??;
        }
        let number = number + 1;
        let starts = replica.starts.lock().await;
        println!("replica {number}  {:>8}  {rejected:>8}", starts.len());
        assert!(!starts.is_empty() && rejected > 0);
        all.extend_from_slice(&starts);
    }
    all.sort_unstable();
    let (fullest, count) = (fullest(&all), all.len());
    println!("together   {count:>8}, at most {fullest} of {UNITS} in any {PERIOD:?}");
    println!("store      {}", replicas[0].redis.status());
    assert!(fullest <= UNITS);
    // Six seconds have room for three times the limit.
    assert!(count > 2 * UNITS);

    // What a replica has taken and not used is back at once for the others.
    for replica in &replicas {
        replica.redis.leave().await;
    }
    Ok(ExitCode::SUCCESS)
}
