//! A thousand clients of four replicas of an axum app.

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::{Request, StatusCode, header::RETRY_AFTER};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};
use tower::ServiceExt;
use tower_throttle::{
    Quota, Redis, SlidingWindowLayer, SlidingWindowLimiter, TokenBucketLayer, TokenBucketLimiter,
    key::ApiKey,
};

use crate::server::{Reply, Server};

const CLIENTS: u64 = 1_000;
const REPLICAS: usize = 4;
const TIME: Duration = Duration::from_secs(20);

/// So many units come back within a period.
const BURST: u64 = 4;
const PERIOD: Duration = Duration::from_secs(16);

/// About twice as many requests as fit.
const INTERVAL: Duration = Duration::from_millis(1_200);

/// What a client has got.
#[derive(Debug, Default)]
struct Score {
    sent: u64,
    admitted: u64,
    /// What one process would have admitted of the same requests.
    ideal: u64,
    /// When the admitted requests were sent, and when their responses had come.
    times: Vec<(Instant, Instant)>,
    /// How often a request came after the time that a rejection named, and how often it was
    /// admitted.
    obeyed: u64,
    admitted_then: u64,
}

async fn replica(server: &Server, is_bucket: bool) -> (Redis, Router) {
    let redis = Redis::connect(&server.url()).await.unwrap();
    // A test builds without optimisation, and may have little of the machine.
    let redis = redis.timeout(Duration::from_secs(1));
    let app = Router::new().route("/", get(async || "hello"));
    let quota = Quota::new(BURST, PERIOD);
    let app = match is_bucket {
        true => {
            let layer = TokenBucketLayer::new(quota).per(ApiKey::bearer());
            app.layer(layer.shared(&redis, "api").respond())
        }
        false => {
            let layer = SlidingWindowLayer::new(quota).per(ApiKey::bearer());
            app.layer(layer.shared(&redis, "api").respond())
        }
    };
    (redis, app)
}

/// Sends a request. Returns the status, and the time that a rejection names.
async fn send(app: &Router, client: u64) -> (StatusCode, Option<Duration>) {
    let request = Request::get("/").header("authorization", format!("Bearer sk-live-{client:020}"));
    let response = app.clone().oneshot(request.body(Body::empty()).unwrap());
    let response = response.await.unwrap();
    let retry_after = response.headers().get(RETRY_AFTER);
    let seconds = retry_after.map(|value| value.to_str().unwrap().parse().unwrap());
    (response.status(), seconds.map(Duration::from_secs))
}

/// Sends twice what the quota of a client admits, to all replicas, and then obeys a rejection.
async fn client(apps: Vec<Router>, client: u64, start: Instant, is_bucket: bool) -> Score {
    let mut score = Score::default();
    let quota = Quota::new(BURST, PERIOD);
    let (bucket, window) = (
        TokenBucketLimiter::new(quota),
        SlidingWindowLimiter::new(quota),
    );
    // Not all at once.
    let mut at = start + INTERVAL * (client % 97) as u32 / 97;
    while at < start + TIME {
        sleep_until(at).await;
        let app = &apps[(score.sent + client) as usize % REPLICAS];
        score.sent += 1;
        let fits = match is_bucket {
            true => bucket.try_acquire(1).is_ok(),
            false => window.try_acquire(1).is_ok(),
        };
        score.ideal += u64::from(fits);
        let sent = Instant::now();
        if send(app, client).await.0 == StatusCode::OK {
            score.admitted += 1;
            score.times.push((sent, Instant::now()));
        }
        at += INTERVAL;
    }
    // Until one is rejected.
    for app in apps.iter().cycle().take(2 * BURST as usize) {
        if let (StatusCode::TOO_MANY_REQUESTS, wait) = send(app, client).await {
            let wait = wait.expect("a rejection without Retry-After");
            // Not all at once.
            sleep(wait + INTERVAL * (client % 97) as u32 / 97).await;
            score.obeyed += 1;
            let (status, _) = send(&apps[client as usize % REPLICAS], client).await;
            score.admitted_then += u64::from(status == StatusCode::OK);
            break;
        }
    }
    score
}

fn used_memory(server: &Server) -> u64 {
    let Reply::Text(info) = server.command(&["INFO", "memory"]) else {
        panic!("no INFO");
    };
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    line.unwrap().trim().parse().unwrap()
}

async fn thousand(is_bucket: bool) {
    let server = Server::start();
    let mut replicas = Vec::new();
    for _ in 0..REPLICAS {
        replicas.push(replica(&server, is_bucket).await);
    }
    let apps: Vec<_> = replicas.iter().map(|(_, app)| app.clone()).collect();
    // Connections and scripts are there.
    for app in &apps {
        assert_eq!(send(app, u64::MAX).await.0, StatusCode::OK);
    }
    let before = used_memory(&server);
    let start = Instant::now();
    let mut tasks = JoinSet::new();
    for number in 0..CLIENTS {
        tasks.spawn(client(apps.clone(), number, start, is_bucket));
    }
    sleep_until(start + TIME / 2).await;
    let Reply::Integer(keys) = server.command(&["DBSIZE"]) else {
        panic!("no DBSIZE");
    };
    let memory = used_memory(&server).saturating_sub(before) / CLIENTS;

    let scores = tasks.join_all().await;
    let sum = |of: fn(&Score) -> u64| scores.iter().map(of).sum::<u64>();
    let (sent, admitted) = (sum(|score| score.sent), sum(|score| score.admitted));
    let ideal = sum(|score| score.ideal);
    let (obeyed, then) = (sum(|score| score.obeyed), sum(|score| score.admitted_then));
    let least = scores.iter().map(|score| score.admitted).min().unwrap();
    let most = scores.iter().map(|score| score.admitted).max().unwrap();
    let asks: u64 = replicas.iter().map(|(redis, _)| redis.status().asks).sum();
    let errors: u64 = replicas
        .iter()
        .map(|(redis, _)| redis.status().errors)
        .sum();
    println!(
        "{} of {sent} admitted, {ideal} fit, {least} to {most} a client; {then} of {obeyed} that obeyed; \
         {asks} asks, {errors} errors; {keys} keys, {memory} bytes each",
        admitted
    );
    assert_eq!(errors, 0, "{}", replicas[0].0.status());
    for score in &scores {
        let (admitted, ideal) = (score.admitted, score.ideal);
        assert!(admitted * 100 >= ideal * 98, "{admitted} of {ideal}");
        // The bucket is full at first, and then refills by one unit each four seconds.
        assert!(
            !is_bucket || admitted <= BURST + 4,
            "{admitted} in a bucket"
        );
        // Over for certain, whenever the requests have started between these.
        let mut laps = score.times.windows(BURST as usize + 1);
        let is_over = |lap: &[(Instant, Instant)]| lap[BURST as usize].1 - lap[0].0 < PERIOD;
        assert!(is_bucket || !laps.any(is_over), "over in a window");
    }
    assert_eq!(then, obeyed, "a client that obeyed was rejected");
    assert_eq!(obeyed, CLIENTS);
    if is_bucket {
        assert!(memory <= 160, "{memory} bytes");
    }
    for (redis, _) in &replicas {
        redis.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_have_a_bucket_each() {
    thousand(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_clients_have_a_window_each() {
    thousand(false).await;
}
