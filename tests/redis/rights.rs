//! A user with the rights that the docs name, and no others.

use std::time::Duration;

use tower_throttle::{ConcurrencyLimiter, Quota, Redis, SlidingWindowLimiter, TokenBucketLimiter};

use crate::server::{Reply, Server};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rights_of_the_docs_are_enough() {
    let server = Server::start();
    let docs = include_str!("../../src/limit/store/redis/mod.rs");
    let lines = docs
        .lines()
        .filter_map(|line| line.strip_prefix("//! ACL "));
    for line in lines {
        let words: Vec<&str> = ["ACL"].into_iter().chain(line.split(' ')).collect();
        assert_eq!(server.command(&words), Reply::Text("OK".to_owned()));
    }

    let url = format!("redis://throttle:secret@127.0.0.1:{}", server.port());
    let redis = Redis::connect(&url).await.unwrap();
    let other = Redis::connect(&url).await.unwrap();
    let quota = Quota::new(20, Duration::from_secs(1));
    let bucket = TokenBucketLimiter::new(quota).shared(&redis, "bucket");
    let window = SlidingWindowLimiter::new(quota).shared(&redis, "window");
    let slots = ConcurrencyLimiter::new(4).shared(&redis, "slots");
    for round in 0..3 {
        // More than there is, so that some wait, and state is cut.
        for _ in 0..30 {
            bucket.acquire(1).await.unwrap();
            window.acquire(1).await.unwrap();
            drop(slots.acquire().await.unwrap());
        }
        window.acquire(1).await.unwrap().refund();
        bucket.acquire(1).await.unwrap().refund();
        match round {
            0 => {
                bucket.set_quota(Quota::new(40, Duration::from_secs(1)));
                window.set_quota(Quota::new(40, Duration::from_secs(1)));
            }
            // They report what they took.
            1 => assert_eq!(server.command(&["FLUSHALL"]), Reply::Text("OK".to_owned())),
            _ => {}
        }
    }
    assert!(redis.status().restores >= 2, "{}", redis.status());
    redis.leave().await;
    for redis in [redis, other] {
        let status = redis.status();
        assert!(
            !status
                .last_error
                .is_some_and(|error| error.contains("NOPERM"))
        );
    }
    let Reply::Array(denied) = server.command(&["ACL", "LOG"]) else {
        panic!("no ACL LOG");
    };
    assert!(denied.is_empty(), "{denied:?}");
}
