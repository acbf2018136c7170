//! What is reported of the calls of a store.

use std::io::{self, Write};

use metrics_exporter_prometheus::PrometheusBuilder;

use super::*;
use crate::limit::{Quota, token_bucket::TokenBucketLimiter};

/// A log in memory.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Sums the series of a metric that contain `label`.
fn sum(text: &str, metric: &str, label: &str) -> u64 {
    let series = text
        .lines()
        .filter(|line| line.starts_with(metric) && line.contains(label));
    let values = series.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
    values.sum()
}

#[tokio::test(start_paused = true)]
async fn calls_agree_with_the_status_in_chaos() {
    let recorder = PrometheusBuilder::new().build_recorder();
    let _recorder = metrics::set_default_local_recorder(&recorder);
    let log = Log::default();
    let writer = log.clone();
    // While there is only one subscriber, whether an event is wanted is asked of the thread that
    // first meets it, which may be that of another test.
    let _second = tracing::Dispatch::new(tracing_subscriber::registry());
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    let _subscriber = tracing::subscriber::set_default(subscriber);

    // A tenth of the calls are lost, and as many replies.
    let network = Network::new(&Model::new(), 3, Duration::from_millis(20), 100);
    let handle = network.process(WhenDown::Local);
    let limiter = TokenBucketLimiter::new(Quota::per_second(100).burst(10));
    let limiter = limiter.in_store(handle.clone(), "name");
    for second in 0..120 {
        let is_refused = (40..50).contains(&second);
        // Otherwise the outage has begun before.
        while second == 40 && !handle.status().is_connected {
            sleep(Duration::from_millis(1)).await;
        }
        network
            .faults
            .is_refused
            .store(is_refused, Ordering::Relaxed);
        for _ in 0..20 {
            let _ = limiter.acquire_within(1, Duration::from_millis(50)).await;
            sleep(Duration::from_millis(50)).await;
        }
    }
    // A call that is under way has no outcome yet.
    let is_ended = || handle.status().asks == sum(&recorder.handle().render(), CALLS, "");
    while !handle.status().is_connected || !is_ended() {
        sleep(Duration::from_millis(1)).await;
    }

    let (text, status) = (recorder.handle().render(), handle.status());
    let calls = |label| sum(&text, CALLS, label);
    let (ok, failed) = (calls("outcome=\"ok\""), calls("") - calls("outcome=\"ok\""));
    assert_eq!(
        (ok + failed, failed),
        (status.asks, status.errors),
        "{text}"
    );
    let failures = calls("\"timed_out\"") + calls("\"unreachable\"");
    assert_eq!(failures, failed, "{text}");
    assert!(
        calls("\"timed_out\"") > 50 && calls("\"unreachable\"") > 5,
        "{text}"
    );
    assert!(calls("\"take\"") > 500 && calls("\"beat\"") > 150, "{text}");
    let took = sum(&text, "tower_throttle_store_call_seconds_count", "");
    assert_eq!(took, status.asks);

    let log = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    let begin = "WARN tower_throttle::store: unreachable error=refused\n";
    let end = "INFO tower_throttle::store: reachable again\n";
    assert!(log.contains(begin) && log.ends_with(end), "{log}");
}

const CALLS: &str = "tower_throttle_store_calls_total{";
