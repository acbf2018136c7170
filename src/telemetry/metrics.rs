//! Metrics, through the facade [`metrics`](https://docs.rs/metrics).
//!
//! [`guide::telemetry`](crate::guide::telemetry) has the table of all metrics, with their labels.
//!
//! - **What requests do** is counted as it happens, by each layer, under the
//!   [`name`](crate::TokenBucketLayer::name) of the layer. Limits find the recorder when their
//!   service is made: install it first, since a service that was made before counts nothing.
//! - **What a limiter holds**, such as its limit and the length of its queue, is recorded when
//!   [`publish`](Publish::publish) is called, as before each scrape. Requests pay nothing for it,
//!   and a value that changes with time, such as the used part of a quota, is right.
//!
//! ```
//! # struct Recorder;
//! # impl Recorder { fn install() {} fn render() -> String { String::new() } }
//! use tower_throttle::{ConcurrencyLayer, Quota, TokenBucketLayer, metrics::{self, Publish}};
//!
//! Recorder::install(); // such as `PrometheusBuilder::new().install_recorder()`
//! metrics::describe();
//! let rate = TokenBucketLayer::new(Quota::per_minute(500)).name("openai");
//! let in_flight = ConcurrencyLayer::new(50).name("openai");
//! let limiters = (rate.limiter().clone(), in_flight.limiter().clone());
//!
//! // The handler of `/metrics`:
//! let scrape = move || {
//!     limiters.0.publish("openai");
//!     limiters.1.publish("openai");
//!     Recorder::render()
//! };
//! # scrape();
//! ```
//!
//! # Performance
//!
//! A request that is admitted at once adds to one counter, whose handle was found when the service
//! was made: it takes no lock and allocates nothing. A request that waits adds to a counter and a
//! histogram. Retries, fallbacks, timeouts and targets are looked up in the recorder each time.

use ::metrics::{Counter, Unit, counter, gauge};

use crate::error::Reason;

/// Whether a metric is a counter, a gauge or a histogram.
enum Kind {
    Counter,
    Gauge,
    Histogram,
}

/// Defines the names of the metrics, and the table of all.
macro_rules! metrics {
    ($(
        $NAME:ident = $name:literal: $kind:ident of $unit:ident, $text:literal;
    )+) => {
        $(
            #[allow(dead_code, reason = "a layer may need a feature")]
            pub(crate) const $NAME: &str = $name;
        )+

        const METRICS: &[(&str, Kind, Unit, &str)] =
            &[$(($NAME, Kind::$kind, Unit::$unit, $text)),+];
    };
}

metrics! {
    REQUESTS = "tower_throttle_requests_total": Counter of Count,
        "Requests by what a limit did with them.";
    QUEUE = "tower_throttle_queue_seconds": Histogram of Seconds,
        "Time in the queue of requests that waited, whatever came of them.";
    LIMIT = "tower_throttle_limit": Gauge of Count,
        "Units of the limit.";
    USED = "tower_throttle_used": Gauge of Count,
        "Units of the limit that count now.";
    IN_FLIGHT = "tower_throttle_in_flight": Gauge of Count,
        "Requests in flight, until the end of their responses.";
    WAITING = "tower_throttle_waiting": Gauge of Count,
        "Requests in the queue.";
    KEYS = "tower_throttle_keys": Gauge of Count,
        "Keys that use a limit.";
    RETRIES = "tower_throttle_retries_total": Counter of Count,
        "Retries by the outcome that caused them.";
    RETRY_DELAY = "tower_throttle_retry_delay_seconds": Histogram of Seconds,
        "Wait before a retry.";
    BUDGET_EXHAUSTED = "tower_throttle_retry_budget_exhausted_total": Counter of Count,
        "Retries that the budget did not allow.";
    BUDGET_LEFT = "tower_throttle_retry_budget_left": Gauge of Count,
        "Retries that the budget allows now.";
    FALLBACKS = "tower_throttle_fallbacks_total": Counter of Count,
        "Requests to which a backup responded, by the failure.";
    CIRCUIT_STATE = "tower_throttle_circuit_state": Gauge of Count,
        "1 for the state of the circuit, and 0 for the others.";
    CIRCUIT_TRANSITIONS = "tower_throttle_circuit_transitions_total": Counter of Count,
        "How often the circuit opened and closed.";
    CIRCUIT_REJECTIONS = "tower_throttle_circuit_rejections_total": Counter of Count,
        "Requests that were rejected because the circuit was open.";
    TIMEOUTS = "tower_throttle_timeouts_total": Counter of Count,
        "Timeouts by what was bounded.";
    CACHE_REQUESTS = "tower_throttle_cache_requests_total": Counter of Count,
        "Requests by the source of their response.";
    CACHE_ENTRIES = "tower_throttle_cache_entries": Gauge of Count,
        "Responses in the cache.";
    CACHE_BYTES = "tower_throttle_cache_bytes": Gauge of Bytes,
        "Size of the responses in the cache.";
    RESERVED = "tower_throttle_reserved": Gauge of Count,
        "Units that are reserved beside the used ones, for responses that have not ended.";
    PAUSED = "tower_throttle_paused_seconds": Gauge of Seconds,
        "Time for which no request starts, because the provider asked for it.";
    TOKENS_RESERVED = "tower_throttle_tokens_reserved_total": Counter of Count,
        "Tokens that requests have reserved.";
    TOKENS_USED = "tower_throttle_tokens_used_total": Counter of Count,
        "Tokens that responses have used.";
    TOKENS_RETURNED = "tower_throttle_tokens_returned_total": Counter of Count,
        "Tokens that were reserved and not used.";
    TARGETS = "tower_throttle_target_requests_total": Counter of Count,
        "Requests that a router has sent, by the target.";
    STREAM_ERRORS = "tower_throttle_stream_errors_total": Counter of Count,
        "Responses that turned out to be errors, by the outcome.";
    STORE_CALLS = "tower_throttle_store_calls_total": Counter of Count,
        "Calls of the store of shared limits, by their outcome.";
    STORE_CALL = "tower_throttle_store_call_seconds": Histogram of Seconds,
        "Time to the reply of the store, or to the error.";
    STORE_UP = "tower_throttle_store_up": Gauge of Count,
        "1 if the store can be reached, and 0 if not.";
    STORE_PROCESSES = "tower_throttle_store_processes": Gauge of Count,
        "Processes that share the store.";
}

/// Describes all metrics to the recorder, which then shows their units and texts.
pub fn describe() {
    for (name, kind, unit, text) in METRICS {
        match kind {
            Kind::Counter => ::metrics::describe_counter!(*name, *unit, *text),
            Kind::Gauge => ::metrics::describe_gauge!(*name, *unit, *text),
            Kind::Histogram => ::metrics::describe_histogram!(*name, *unit, *text),
        }
    }
}

/// Something whose state can be recorded.
pub trait Publish {
    /// Records the state now, under a name: as a rule the name of the layer.
    ///
    /// Call it before each scrape, or every few seconds. It takes some microseconds.
    fn publish(&self, name: &'static str);
}

/// A counter for each value of a label.
pub(crate) struct LabeledCounters(Vec<(&'static str, Counter)>);

// ===== impl LabeledCounters =====

impl LabeledCounters {
    pub(crate) fn new(
        values: impl IntoIterator<Item = &'static str>,
        counter: impl Fn(&'static str) -> Counter,
    ) -> Self {
        let values = values.into_iter();
        Self(values.map(|value| (value, counter(value))).collect())
    }

    pub(crate) fn increment(&self, value: &str) {
        let counter = self.0.iter().find(|(label, _)| *label == value);
        debug_assert!(counter.is_some(), "no counter for {value}");
        if let Some((_, counter)) = counter {
            counter.increment(1);
        }
    }
}

/// Returns the counters of requests that a layer rejected, by the reason.
pub(crate) fn rejected(layer: &'static str, name: &'static str) -> LabeledCounters {
    let reasons = Reason::LABELS.iter().copied();
    // Only a limit per key needs a key.
    let occurs = |reason: &&str| layer == "per_key" || !reason.starts_with("missing");
    LabeledCounters::new(reasons.filter(occurs), |reason| {
        counter!(
            REQUESTS,
            "layer" => layer,
            "name" => name,
            "outcome" => "rejected",
            "reason" => reason
        )
    })
}

/// Returns the counter of requests with another outcome.
pub(crate) fn requests(layer: &'static str, name: &'static str, outcome: &'static str) -> Counter {
    counter!(REQUESTS, "layer" => layer, "name" => name, "outcome" => outcome)
}

/// Records a number of a limit.
pub(crate) fn set(metric: &'static str, layer: &'static str, name: &'static str, value: u64) {
    gauge!(metric, "layer" => layer, "name" => name).set(value as f64);
}

/// Records whether a store can be reached, and how many processes share it.
#[cfg(feature = "redis")]
pub(crate) fn store(name: &'static str, is_up: bool, processes: u64) {
    gauge!(STORE_UP, "name" => name).set(f64::from(u8::from(is_up)));
    gauge!(STORE_PROCESSES, "name" => name).set(processes as f64);
}
