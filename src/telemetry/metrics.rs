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

use ::metrics::gauge;

/// Defines the names of the metrics, and `describe`.
macro_rules! metrics {
    ($(
        $NAME:ident = $name:literal: $describe:ident in $unit:ident, $text:literal;
    )+) => {
        $(
            #[allow(dead_code, reason = "a layer may need a feature")]
            pub(crate) const $NAME: &str = $name;
        )+

        /// Describes all metrics to the recorder, which then shows their units and texts.
        pub fn describe() {
            $(::metrics::$describe!($NAME, ::metrics::Unit::$unit, $text);)+
        }
    };
}

metrics! {
    REQUESTS = "tower_throttle_requests_total": describe_counter in Count,
        "Requests by what a limit did with them.";
    QUEUE = "tower_throttle_queue_seconds": describe_histogram in Seconds,
        "Time in the queue of requests that waited, whatever came of them.";
    LIMIT = "tower_throttle_limit": describe_gauge in Count,
        "Units of the limit.";
    USED = "tower_throttle_used": describe_gauge in Count,
        "Units of the limit that count now.";
    IN_FLIGHT = "tower_throttle_in_flight": describe_gauge in Count,
        "Requests in flight, until the end of their responses.";
    WAITING = "tower_throttle_waiting": describe_gauge in Count,
        "Requests in the queue.";
    KEYS = "tower_throttle_keys": describe_gauge in Count,
        "Keys that use a limit.";
    RETRIES = "tower_throttle_retries_total": describe_counter in Count,
        "Retries by the outcome that caused them.";
    RETRY_DELAY = "tower_throttle_retry_delay_seconds": describe_histogram in Seconds,
        "Wait before a retry.";
    BUDGET_EXHAUSTED = "tower_throttle_retry_budget_exhausted_total": describe_counter in Count,
        "Retries that the budget did not allow.";
    BUDGET_LEFT = "tower_throttle_retry_budget_left": describe_gauge in Count,
        "Retries that the budget allows now.";
    FALLBACKS = "tower_throttle_fallbacks_total": describe_counter in Count,
        "Requests to which a backup responded, by the failure.";
    CIRCUIT_STATE = "tower_throttle_circuit_state": describe_gauge in Count,
        "1 for the state of the circuit, and 0 for the others.";
    CIRCUIT_TRANSITIONS = "tower_throttle_circuit_transitions_total": describe_counter in Count,
        "How often the circuit opened and closed.";
    CIRCUIT_REJECTIONS = "tower_throttle_circuit_rejections_total": describe_counter in Count,
        "Requests that were rejected because the circuit was open.";
    TIMEOUTS = "tower_throttle_timeouts_total": describe_counter in Count,
        "Timeouts by what was bounded.";
    CACHE_REQUESTS = "tower_throttle_cache_requests_total": describe_counter in Count,
        "Requests by the source of their response.";
    CACHE_ENTRIES = "tower_throttle_cache_entries": describe_gauge in Count,
        "Responses in the cache.";
    CACHE_BYTES = "tower_throttle_cache_bytes": describe_gauge in Bytes,
        "Size of the responses in the cache.";
    RESERVED = "tower_throttle_reserved": describe_gauge in Count,
        "Units that are reserved beside the used ones, for responses that have not ended.";
    PAUSED = "tower_throttle_paused_seconds": describe_gauge in Seconds,
        "Time for which no request starts, because the provider asked for it.";
    TOKENS_RESERVED = "tower_throttle_tokens_reserved_total": describe_counter in Count,
        "Tokens that requests have reserved.";
    TOKENS_USED = "tower_throttle_tokens_used_total": describe_counter in Count,
        "Tokens that responses have used.";
    TOKENS_RETURNED = "tower_throttle_tokens_returned_total": describe_counter in Count,
        "Tokens that were reserved and not used.";
    TARGETS = "tower_throttle_target_requests_total": describe_counter in Count,
        "Requests that a router has sent, by the target.";
    STREAM_ERRORS = "tower_throttle_stream_errors_total": describe_counter in Count,
        "Responses that turned out to be errors, by the outcome.";
    STORE_CALLS = "tower_throttle_store_calls_total": describe_counter in Count,
        "Calls of the store of shared limits, by their outcome.";
    STORE_CALL = "tower_throttle_store_call_seconds": describe_histogram in Seconds,
        "Time to the reply of the store, or to the error.";
    STORE_UP = "tower_throttle_store_up": describe_gauge in Count,
        "1 if the store can be reached, and 0 if not.";
    STORE_PROCESSES = "tower_throttle_store_processes": describe_gauge in Count,
        "Processes that share the store.";
}

/// Something whose state can be recorded.
pub trait Publish {
    /// Records the state now, under a name: as a rule the name of the layer.
    ///
    /// Call it before each scrape, or every few seconds. It takes some microseconds.
    fn publish(&self, name: &'static str);
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
