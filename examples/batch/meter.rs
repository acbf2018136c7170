//! What is counted while a batch runs.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU16, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::StatusCode;
use tokio::{sync::watch, time::Instant};

use crate::hopeless::{Hopeless, Streak};

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
    pub(crate) hits: AtomicU64,
    pub(crate) retries: AtomicU64,
    /// The status of the last response that asked to wait; 0 if none did.
    refused: AtomicU16,
    lists: Mutex<Lists>,
    stop: watch::Sender<bool>,
}

#[derive(Debug, Default)]
struct Lists {
    /// From the moment a worker took a request to its response, for all that have one.
    times: Vec<Duration>,
    /// How long the provider took for its responses, in total and how many.
    service: (Duration, u32),
    /// What failed for good since the failures were last read.
    failures: Vec<String>,
    /// How many were read before.
    seen: usize,
    streak: Streak,
    /// Why the run was stopped, if it stopped itself.
    stopped_because: Option<&'static str>,
}

/// Something is on the wire until this is dropped.
#[derive(Debug)]
pub(crate) struct InFlight(Arc<Meter>);

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
            hits: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            refused: AtomicU16::new(0),
            lists: Mutex::default(),
            stop,
        }
    }

    /// An attempt leaves.
    pub(crate) fn depart(self: &Arc<Self>, is_retry: bool) -> InFlight {
        self.retries.fetch_add(u64::from(is_retry), Relaxed);
        self.attempts.fetch_add(1, Relaxed);
        self.hold()
    }

    /// Something is on the wire.
    pub(crate) fn hold(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Relaxed);
        InFlight(self.clone())
    }

    /// The response to an attempt begins.
    pub(crate) fn arrive(&self, status: StatusCode) {
        if status == StatusCode::TOO_MANY_REQUESTS {
            self.http_429.fetch_add(1, Relaxed);
        }
        if matches!(status.as_u16(), 403 | 429 | 503 | 529) {
            self.refused.store(status.as_u16(), Relaxed);
        }
    }

    /// A response has ended, `after` its request was sent.
    pub(crate) fn serve(&self, after: Duration) {
        let (total, count) = &mut self.lists().service;
        *total += after;
        *count += 1;
    }

    /// A request has its response, `after` a worker took it.
    pub(crate) fn succeed(&self, after: Duration, tokens: u64) {
        self.succeeded.fetch_add(1, Relaxed);
        self.tokens.fetch_add(tokens, Relaxed);
        let mut lists = self.lists();
        lists.times.push(after);
        lists.streak.answered();
    }

    /// A request has failed for good. If all are likely to fail, no further attempt is sent.
    pub(crate) fn fail(&self, message: String, hopeless: Option<Hopeless>) {
        self.failed.fetch_add(1, Relaxed);
        let mut lists = self.lists();
        lists.failures.push(message);
        if let Some(why) = lists.streak.failed(hopeless) {
            lists.stopped_because = Some(why);
            drop(lists);
            self.stop();
        }
    }

    /// Why the run was stopped, if it stopped itself.
    pub(crate) fn stopped_because(&self) -> Option<&'static str> {
        self.lists().stopped_because
    }

    /// The status of the last response that asked to wait.
    pub(crate) fn refused(&self) -> Option<u16> {
        Some(self.refused.load(Relaxed)).filter(|status| *status > 0)
    }

    /// The tokens that all requests will have used, estimated from the responses so far.
    pub(crate) fn expected_tokens(&self) -> Option<u64> {
        let (tokens, answered) = (self.tokens.load(Relaxed), self.succeeded.load(Relaxed));
        let all = u128::from(tokens) * self.requests as u128;
        let expected = all.checked_div(u128::from(answered))?;
        Some(u64::try_from(expected).unwrap_or(u64::MAX))
    }

    /// What failed since this was last asked, and how many had failed by then.
    pub(crate) fn failures(&self) -> (usize, Vec<String>) {
        let mut lists = self.lists();
        let before = lists.seen;
        lists.seen += lists.failures.len();
        (before, std::mem::take(&mut lists.failures))
    }

    /// The mean time that the provider took for a response.
    pub(crate) fn mean_service(&self) -> Duration {
        let (total, count) = self.lists().service;
        total.checked_div(count).unwrap_or_default()
    }

    /// The time within which this share of the responses arrived.
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

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Relaxed);
    }
}
