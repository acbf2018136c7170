//! An axum app that stops without losing a request: `cargo run --example server_axum_drain`.
//!
//! On SIGTERM (or Ctrl-C) requests that wait are rejected at once, with a `Retry-After` for a load
//! balancer or a client to go elsewhere. Requests that have started, and responses that stream, end
//! as usual, for up to ten seconds.

use std::time::Duration;

use axum::{Router, extract::State, routing::get};
use futures::future::join_all;
use tokio::{
    net::TcpListener,
    signal,
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tower_throttle::{BoxError, ConcurrencyLayer, ConcurrencyLimiter};

const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// Waits for the signal of an orchestrator, or for what stands for it in this example.
async fn stopped(mut stop: watch::Receiver<bool>) {
    let stop = stop.wait_for(|is_stopped| *is_stopped);
    #[cfg(unix)]
    let terminated = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminated = std::future::pending::<Option<()>>();
    tokio::select! {
        _ = stop => {}
        _ = signal::ctrl_c() => {}
        _ = terminated => {}
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let limiter = ConcurrencyLimiter::new(2);
    let layer = ConcurrencyLayer::from(limiter.clone())
        .max_wait(Duration::from_secs(30))
        .respond();
    let slow = async |State(time): State<Duration>| {
        sleep(time).await;
        "done\n"
    };
    let app = Router::new()
        .route("/", get(slow))
        .layer(layer)
        .with_state(Duration::from_millis(500));

    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/", listener.local_addr()?);
    let (stop, receiver) = watch::channel(false);
    let closing = limiter.clone();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        stopped(receiver).await;
        // Before the server waits for its requests: those in the queue would hold it up.
        closing.close();
    });
    let server = tokio::spawn(async move { timeout(LONGEST_DRAIN, server.into_future()).await });

    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = reqwest::Client::builder().no_proxy().build()?;
    let start = Instant::now();
    let requests = (1..=6).map(|number| {
        let request = client.get(&url).send();
        async move {
            let response = request.await?;
            let status = response.status();
            let retry_after = response.headers().get("retry-after");
            println!(
                "{:.1} s  request {number}: {status}, Retry-After: {retry_after:?}",
                start.elapsed().as_secs_f32()
            );
            assert_eq!(retry_after.is_some(), status != 200);
            Ok::<_, reqwest::Error>(status.as_u16())
        }
    });
    let stopping = async {
        while limiter.waiting() < 4 {
            sleep(Duration::from_millis(10)).await;
        }
        println!(
            "stop: {} in flight, {} waiting",
            limiter.in_flight(),
            limiter.waiting()
        );
        stop.send_replace(true);
    };
    let (results, ()) = tokio::join!(join_all(requests), stopping);
    let mut statuses = results.into_iter().collect::<Result<Vec<_>, _>>()?;
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 200, 503, 503, 503, 503]);

    match server.await? {
        Ok(result) => result?,
        Err(_) => println!("some responses did not end in time"),
    }
    assert_eq!((limiter.in_flight(), limiter.waiting()), (0, 0));
    println!("drained after {:.1} s", start.elapsed().as_secs_f32());
    Ok(())
}
