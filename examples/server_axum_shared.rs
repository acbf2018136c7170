//! Two replicas of an axum app with one limit for each client, in Redis:
//! `cargo run --example server_axum_shared`.
//!
//! Starts `redis-server`, or the program that `THROTTLE_SERVER` names, for itself. If `REDIS_URL`
//! is set, it uses that server.

use std::{
    env,
    process::{Command, ExitCode},
    sync::Arc,
    time::Duration,
};

use axum::{Router, http::HeaderMap, routing::get};
use tokio::{
    net::TcpListener,
    sync::Mutex,
    time::{Instant, sleep},
};
use tower_throttle::{BoxError, Quota, Redis, SlidingWindowLayer, key::ApiKey};

use crate::server::{INSTALL, Server};

#[path = "../tests/redis/server.rs"]
mod server;

const UNITS: usize = 50;
const PERIOD: Duration = Duration::from_secs(2);
const TIME: Duration = Duration::from_secs(6);

const CLIENTS: [&str; 2] = ["sk-ann-0123456789", "sk-bob-0123456789"];

/// When requests of a client reached a handler.
type Starts = Arc<Mutex<Vec<(String, Instant)>>>;

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
            .per(ApiKey::header("x-api-key"))
            .shared(&redis, "hello")
            .respond();

        let starts = Starts::default();
        let handler = {
            let starts = starts.clone();
            async move |headers: HeaderMap| {
                let key = headers["x-api-key"].to_str().unwrap_or_default();
                starts.lock().await.push((key.to_owned(), Instant::now()));
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
async fn send(
    client: reqwest::Client,
    url: String,
    key: &'static str,
) -> Result<usize, reqwest::Error> {
    let (end, mut rejected) = (Instant::now() + TIME, 0);
    while Instant::now() < end {
        let response = client.get(&url).header("x-api-key", key).send().await?;
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
    // Each client sends to both replicas.
    let clients = CLIENTS.map(|key| {
        let send = |replica: &Replica| tokio::spawn(send(client.clone(), replica.url.clone(), key));
        [send(&replicas[0]), send(&replicas[1])]
    });

    println!("                   replica 1  replica 2  rejected");
    for (key, tasks) in CLIENTS.into_iter().zip(clients) {
        let mut rejected = 0;
        for task in tasks {
            rejected += task.await??;
        }
        let (mut all, mut counts) = (Vec::new(), Vec::new());
        for replica in &replicas {
            let starts = replica.starts.lock().await;
            let own = starts.iter().filter(|(client, _)| client == key);
            let before = all.len();
            all.extend(own.map(|(_, start)| *start));
            counts.push(all.len() - before);
        }
        all.sort_unstable();
        let (fullest, [first, second]) = (fullest(&all), [counts[0], counts[1]]);
        println!("{key}  {first:>9}  {second:>9}  {rejected:>8}");
        println!("  at most {fullest} of {UNITS} in any {PERIOD:?}");
        assert!(first > 0 && second > 0 && rejected > 0);
        assert!(fullest <= UNITS);
        // Six seconds have room for three times the limit.
        assert!(all.len() > 2 * UNITS);
    }
    println!("store: {}", replicas[0].redis.status());

    // What a replica has taken and not used is back at once for the others.
    for replica in &replicas {
        replica.redis.leave().await;
    }
    Ok(ExitCode::SUCCESS)
}
