//! Background jobs with bare limiters, without a service: `cargo run --example jobs`.
//!
//! A limiter is what a layer has inside. `acquire` waits for its turn, and the permit of a
//! concurrency limit is held as long as the job runs.

use std::time::Duration;

use tokio::{
    task::JoinSet,
    time::{Instant, sleep},
};
use tower_throttle::{BoxError, ConcurrencyLimiter, Quota, Rejected, TokenBucketLimiter};

/// The limits of a mail server: 20 messages a second in bursts of 5, over 3 connections.
#[derive(Clone)]
struct Mailer {
    rate: TokenBucketLimiter,
    connections: ConcurrencyLimiter,
}

impl Mailer {
    fn new() -> Self {
        Self {
            rate: TokenBucketLimiter::new(Quota::per_second(20).burst(5)),
            connections: ConcurrencyLimiter::new(3),
        }
    }

    async fn send(&self, recipients: u64) -> Result<(), Rejected> {
        // The slot first: it may take a while, and the rate counts when the message is sent.
        let _connection = self.connections.acquire().await?;
        // A message counts once for each recipient.
        self.rate.acquire(recipients).await?;
        sleep(Duration::from_millis(30)).await;
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mailer = Mailer::new();
    let start = Instant::now();
    let mut jobs = JoinSet::new();
    for job in 0..15_u64 {
        let mailer = mailer.clone();
        jobs.spawn(async move {
            mailer.send(1 + job % 2).await?;
            Ok::<_, Rejected>((job, start.elapsed()))
        });
    }
    while let Some(result) = jobs.join_next().await {
        let (job, elapsed) = result??;
        println!("{:.2} s  job {job}", elapsed.as_secs_f32());
    }

    // What can never fit is an error at once, and tells the numbers.
    if let Err(error) = mailer.send(6).await {
        println!("{error}");
        assert!(error.exceeds_capacity());
    }

    // A stop: jobs that wait are rejected, and new ones as well.
    let waiting = tokio::spawn({
        let mailer = mailer.clone();
        async move { mailer.send(5).await }
    });
    mailer.send(5).await?;
    mailer.rate.close();
    mailer.connections.close();
    println!("after the stop: {:?}", waiting.await?);
    assert!(mailer.send(1).await.is_err());
    Ok(())
}
