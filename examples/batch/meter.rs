//! What is counted while a batch runs.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::StatusCode;
use tokio::{sync::watch, time::Instant};

/// The counts of one run, and the switch that stops it.
///
/// All orderings are relaxed: these are lone counters, and nothing is read through them.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) begun: Instant,
    pub(crate) requests: usize,
    pub(crate) taken: AtomicU64,
    pub(crate) succeeded: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) attempts: AtomicU64,
    pub(crate) http_429: AtomicU64,
    pub(crate) in_flight: AtomicU64,
    pub(crate) tokens: AtomicU64,
    pub(crate) fallbacks: AtomicU64,
    lists: Mutex<Lists>,
    stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Lists {
    /// From the moment a worker took a request to its answer, for those that have one.
    times: Vec<Duration>,
    /// How long the provider took for its answers, in total and how many.
    service: (Duration, u32),
    /// What failed for good since somebody last looked.
    failures: Vec<String>,
    /// How many were looked at before.
    seen: usize,
}

/// Something is on the wire until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a Meter);

// ===== impl Meter =====

impl Meter {
    /// Starts the clock for so many requests, which `stop` stops.
    pub(crate) fn start(requests: usize, stop: watch::Sender<bool>) -> Self {
        Self {
            begun: Instant::now(),
            requests,
            taken: AtomicU64::new(0),
            succeeded: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            attempts: AtomicU64::new(0),
            http_429: AtomicU64::new(0),
            in_flight: AtomicU64::new(0),
            tokens: AtomicU64::new(0),
            fallbacks: AtomicU64::new(0),
            lists: Mutex::default(),
            stop,
        }
    }

    /// An attempt leaves.
    pub(crate) fn depart(&self) -> InFlight<'_> {
        self.attempts.fetch_add(1, Relaxed);
        self.hold()
    }

    /// Something is on the wire.
    pub(crate) fn hold(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self)
    }

    /// An attempt was answered after so long.
    pub(crate) fn arrive(&self, status: StatusCode, after: Duration) {
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.http_429.fetch_add(1, Relaxed);
        }
        if status.is_success() {
            let (total, count) = &mut self.lists().service;
            *total += after;
            *count += 1;
        }
    }

    /// A request has its answer, so long after a worker took it.
    pub(crate) fn succeed(&self, after: Duration, tokens: u64) {
        self.succeeded.fetch_add(1, Relaxed);
        self.tokens.fetch_add(tokens, Relaxed);
        self.lists().times.push(after);
    }

    /// A request will have no answer.
    pub(crate) fn fail(&self, message: String) {
        self.failed.fetch_add(1, Relaxed);
        self.lists().failures.push(message);
    }

    /// What failed since this was last asked, and how many had failed by then.
    pub(crate) fn failures(&self) -> (usize, Vec<String>) {
        let mut lists = self.lists();
        let before = lists.seen;
        lists.seen += lists.failures.len();
        (before, std::mem::take(&mut lists.failures))
    }

    /// The mean time that the provider took for an answer.
    pub(crate) fn mean_service(&self) -> Duration {
        let (total, count) = self.lists().service;
        total.checked_div(count).unwrap_or_default()
    }

    /// The time within which this share of the answers was there.
    pub(crate) fn percentile(&self, share: f64) -> Duration {
        let mut times = self.lists().times.clone();
        times.sort_unstable();
        let rank = (times.len() as f64 * share).ceil() as usize;
        let found = times.get(rank.saturating_sub(1));
        found.copied().unwrap_or_default()
    }

    /// Lets no further attempt leave.
    pub(crate) fn stop(&self) {
        self.stop.send_replace(true);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Waits until the run is stopped and nothing is on the wire any more.
    pub(crate) async fn quiet(&self) {
        // Fails only if the sender is gone, which lives as long as this.
        let _ = self.stop.subscribe().wait_for(|stopped| *stopped).await;
        while self.in_flight.load(Relaxed) > 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    fn lists(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
