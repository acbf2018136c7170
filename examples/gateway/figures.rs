//! What is counted, and the snapshot of it that the page shows.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use reqwest::Response;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower_throttle::{
    BoxError, Outcome, cache::Status, circuit::State, fallback::ServedBy, provider::Usage,
    retry::Attempts, router::SelectedTarget,
};

use crate::{providers::Provider, routes::Gateway, settings::Caller};

/// The counts of the gateway.
///
/// All orderings are relaxed: these are lone counters, and nothing is read through them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Counts {
    retries: AtomicU64,
    fallbacks: AtomicU64,
    hits: AtomicU64,
    failed: AtomicU64,
    /// A clone for each request that is under way.
    #[serde(skip)]
    in_flight: Arc<()>,
    #[serde(skip)]
    minute: Mutex<Minute>,
}

/// The counts of a caller.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CallerCounts {
    all_requests: AtomicU64,
    all_tokens: AtomicU64,
}

/// The counts of what was sent to a provider.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ProviderCounts {
    attempts: AtomicU64,
    failures: AtomicU64,
    http_429: AtomicU64,
    /// The last failure, if no success came after it.
    failure: Mutex<Option<&'static str>>,
}

/// The requests and the tokens of each second of the last minute, oldest first.
#[derive(Debug, Default)]
struct Minute {
    begun: Option<Instant>,
    seconds: u64,
    counts: VecDeque<[u64; 2]>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

// ===== impl Counts =====

impl Counts {
    /// A request begins. It is under way until what this returns is dropped.
    pub(crate) fn enter(&self, caller: &Caller) -> Arc<()> {
        caller.counts.all_requests.fetch_add(1, Relaxed);
        locked(&self.minute).now()[0] += 1;
        self.in_flight.clone()
    }

    /// A request has used tokens.
    pub(crate) fn spend(&self, caller: &Caller, tokens: u64) {
        caller.counts.all_tokens.fetch_add(tokens, Relaxed);
        locked(&self.minute).now()[1] += tokens;
    }

    /// Counts what the layers did for a request.
    pub(crate) fn observe(&self, result: Result<&Response, &BoxError>) {
        let attempts = match result {
            Ok(response) => Attempts::of(response).attempts(),
            Err(error) => Attempts::of_error(error).map_or(1, |it| it.attempts()),
        };
        let went_on = result.is_ok_and(|response| {
            let target = SelectedTarget::of(response);
            target.is_some_and(|it| it.tried() > 0) || !ServedBy::of(response).is_primary()
        });
        let status = result.ok().and_then(Status::of);
        let is_hit = matches!(status, Some(Status::Hit | Status::Collapsed));
        let has_failed = Outcome::of(result) != Some(Outcome::Success);
        self.retries.fetch_add(u64::from(attempts) - 1, Relaxed);
        self.fallbacks.fetch_add(went_on.into(), Relaxed);
        self.hits.fetch_add(is_hit.into(), Relaxed);
        self.failed.fetch_add(has_failed.into(), Relaxed);
    }
}

// ===== impl Minute =====

impl Minute {
    /// The counts of this second.
    fn now(&mut self) -> &mut [u64; 2] {
        let begun = self.begun.get_or_insert_with(Instant::now);
        let seconds = begun.elapsed().as_secs();
        self.counts.resize(60, [0; 2]);
        for _ in 0..(seconds - self.seconds).min(60) {
            self.counts.rotate_left(1);
            self.counts[59] = [0; 2];
        }
        self.seconds = seconds;
        &mut self.counts[59]
    }
}

// ===== impl ProviderCounts =====

impl ProviderCounts {
    /// Counts an attempt.
    pub(crate) fn observe(&self, result: Result<Response, BoxError>) -> Result<Response, BoxError> {
        let outcome = Outcome::of(result.as_ref()).unwrap_or(Outcome::Success);
        let is_failure = (result.as_ref()).map_or(true, |it| it.status().is_server_error());
        let failure = is_failure.then(|| outcome.as_str());
        self.attempts.fetch_add(1, Relaxed);
        self.failures.fetch_add(failure.is_some().into(), Relaxed);
        let is_429 = outcome == Outcome::RateLimited;
        self.http_429.fetch_add(is_429.into(), Relaxed);
        *locked(&self.failure) = failure;
        result
    }
}

// ===== impl Provider =====

impl Provider {
    /// Whether it is up, in one word.
    fn health(&self, usage: &Usage) -> &'static str {
        match self.circuit.state() {
            State::Open => "down",
            State::HalfOpen => "probing",
            _ if locked(&self.counts.failure).is_some() => "failing",
            _ if !usage.paused_for.is_zero() => "paused",
            _ => "up",
        }
    }

    fn snapshot(&self) -> Value {
        let usage = self.limiter.usage();
        let limits = usage.limits().map(|limit| {
            let period = |period: Duration| format!(" / {} s", period.as_secs());
            let period = limit.period.map(period);
            json!({
                "name": limit.dimension.to_string() + &period.unwrap_or_default(),
                "limit": limit.limit, "used": limit.used, "reserved": limit.reserved,
                "resets": limit.resets_in.as_secs_f64(),
            })
        });
        json!({
            "name": self.name, "api": self.api, "model": self.model, "counts": *self.counts,
            "health": self.health(&usage), "paused": usage.paused_for.as_secs_f64(),
            "in_flight": usage.in_flight, "waiting": usage.waiting,
            "limits": limits.collect::<Vec<_>>(),
        })
    }
}

// ===== impl Gateway =====

impl Gateway {
    /// What the page shows.
    pub(crate) fn snapshot(&self) -> Value {
        let limits = &self.callers;
        let (requests, tokens, in_flight) = (&limits.requests, &limits.tokens, &limits.concurrent);
        let callers = limits.all.iter().map(|caller| {
            let key = (&*caller.name).into();
            json!({
                "name": caller.name, "counts": caller.counts,
                "requests": { "used": requests.used(key), "limit": caller.rpm },
                "tokens": { "used": tokens.used(key), "limit": caller.tpm },
                "concurrent": { "used": in_flight.used(key), "limit": caller.concurrent },
            })
        });
        let rejected = requests.rejections() + tokens.rejections() + in_flight.rejections();
        let mut minute = locked(&self.counts.minute);
        minute.now();
        let sum = |at: usize| minute.counts.iter().map(|counts| counts[at]).sum::<u64>();
        json!({
            "counts": self.counts, "rejected": rejected, "requests": sum(0), "tokens": sum(1),
            "in_flight": Arc::strong_count(&self.counts.in_flight) - 1,
            "series": minute.counts.iter().map(|[requests, _]| requests).collect::<Vec<_>>(),
            "providers": self.providers.all.iter().map(Provider::snapshot).collect::<Vec<_>>(),
            "callers": callers.collect::<Vec<_>>(),
        })
    }
}

/// Each number of the snapshot, in the text format of Prometheus.
pub(crate) fn metrics(snapshot: &Value) -> String {
    let mut lines = numbers("gateway", "", snapshot);
    // Those of one name have to be together.
    lines.sort();
    lines.concat()
}

fn numbers(prefix: &str, labels: &str, value: &Value) -> Vec<String> {
    let members = value.as_object().into_iter().flatten();
    let lines = members.flat_map(|(name, value)| {
        let prefix = format!("{prefix}_{name}");
        match value {
            Value::Number(number) => vec![format!("{prefix}{{{labels}}} {number}\n")],
            Value::Array(all) => {
                let label = |one: &Value| format!("{labels}{name}={},", one["name"]);
                let each = |one| numbers(&prefix, &label(one), one);
                all.iter().flat_map(each).collect()
            }
            other => numbers(&prefix, labels, other),
        }
    });
    lines.collect()
}
