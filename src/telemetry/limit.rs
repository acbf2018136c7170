//! What a limit reports of its requests. Without the features it is empty, and does nothing.

use std::time::Duration;
#[cfg(feature = "metrics")]
use std::{mem, sync::Arc};

#[cfg(feature = "metrics")]
use ::metrics::{Counter, Histogram, counter, histogram};
#[cfg(any(feature = "metrics", feature = "tracing"))]
use tokio::time::Instant;

#[cfg(feature = "metrics")]
use super::metrics::{QUEUE, REQUESTS};
#[cfg(feature = "metrics")]
use crate::error::Reason;
use crate::error::Rejected;

/// What the service of a limit reports. Its clones and its queued requests share it.
#[derive(Debug, Clone)]
pub(crate) struct LimitTelemetry {
    #[cfg(feature = "tracing")]
    layer: &'static str,
    #[cfg(feature = "tracing")]
    name: Option<&'static str>,
    #[cfg(feature = "metrics")]
    metrics: Arc<LimitMetrics>,
}

#[cfg(feature = "metrics")]
struct LimitMetrics {
    admitted: Counter,
    waited: Counter,
    cancelled: Counter,
    shadowed: Counter,
    /// By the label of the reason.
    rejected: Vec<(&'static str, Counter)>,
    queue: Histogram,
}

/// A request in a queue. If it is dropped there, it is cancelled.
pub(crate) struct QueueTelemetry {
    telemetry: LimitTelemetry,
    #[cfg(any(feature = "metrics", feature = "tracing"))]
    since: Instant,
    #[cfg(feature = "metrics")]
    is_waiting: bool,
    /// Of the caller. The request may be polled in another one.
    #[cfg(feature = "tracing")]
    span: tracing::Span,
}

// ===== impl LimitTelemetry =====

#[cfg_attr(
    not(all(feature = "metrics", feature = "tracing")),
    allow(unused_variables, clippy::unused_self, reason = "features are off")
)]
impl LimitTelemetry {
    /// Registers the metrics of a layer.
    pub(crate) fn new(layer: &'static str, name: Option<&'static str>) -> Self {
        Self {
            #[cfg(feature = "tracing")]
            layer,
            #[cfg(feature = "tracing")]
            name,
            #[cfg(feature = "metrics")]
            metrics: Arc::new(LimitMetrics::new(
                layer,
                name.unwrap_or(super::DEFAULT_NAME),
            )),
        }
    }

    /// A request was admitted at once.
    #[inline(always)]
    pub(crate) fn admitted(&self) {
        #[cfg(feature = "metrics")]
        self.metrics.admitted.increment(1);
    }

    /// A request passes although it was rejected.
    pub(crate) fn shadowed(&self, rejected: &Rejected) {
        #[cfg(feature = "metrics")]
        self.metrics.shadowed.increment(1);
        crate::macros::event!(
            target: "tower_throttle::limit",
            layer = self.layer,
            name = self.name,
            reason = rejected.reason().as_str(),
            retry_after = ?rejected.retry_after(),
            "admitted by a shadow"
        );
    }

    /// A request was rejected.
    pub(crate) fn rejected(&self, rejected: &Rejected) {
        #[cfg(feature = "metrics")]
        self.metrics.rejected(rejected.reason().as_str());
        crate::macros::event!(
            target: "tower_throttle::limit",
            layer = self.layer,
            name = self.name,
            limit = rejected.limit().as_str(),
            reason = rejected.reason().as_str(),
            retry_after = ?rejected.retry_after(),
            "rejected"
        );
    }

    /// A request joins the queue.
    pub(crate) fn queued(&self, expected: Option<Duration>) -> QueueTelemetry {
        crate::macros::event!(
            target: "tower_throttle::limit",
            layer = self.layer,
            name = self.name,
            ?expected,
            "waiting"
        );
        QueueTelemetry {
            telemetry: self.clone(),
            #[cfg(any(feature = "metrics", feature = "tracing"))]
            since: Instant::now(),
            #[cfg(feature = "metrics")]
            is_waiting: true,
            #[cfg(feature = "tracing")]
            span: tracing::Span::current(),
        }
    }
}

// ===== impl QueueTelemetry =====

impl QueueTelemetry {
    /// The request was admitted, and is called by `call`, in the span of its caller.
    pub(crate) fn admitted<T>(&mut self, call: impl FnOnce() -> T) -> T {
        self.leave();
        #[cfg(feature = "metrics")]
        self.telemetry.metrics.waited.increment(1);
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        crate::macros::event!(
            target: "tower_throttle::limit",
            layer = self.telemetry.layer,
            name = self.telemetry.name,
            waited = ?self.since.elapsed(),
            "admitted"
        );
        call()
    }

    /// The request passes although it was rejected, and is called by `call`.
    pub(crate) fn shadowed<T>(&mut self, rejected: &Rejected, call: impl FnOnce() -> T) -> T {
        self.leave();
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        self.telemetry.shadowed(rejected);
        call()
    }

    /// The request was rejected.
    pub(crate) fn rejected(&mut self, rejected: &Rejected) {
        self.leave();
        #[cfg(feature = "tracing")]
        let _entered = self.span.enter();
        self.telemetry.rejected(rejected);
    }

    /// Records the time in the queue. Returns whether the request was in it.
    #[cfg_attr(
        not(feature = "metrics"),
        allow(clippy::unused_self, reason = "only metrics know it")
    )]
    fn leave(&mut self) -> bool {
        #[cfg(feature = "metrics")]
        if mem::take(&mut self.is_waiting) {
            self.telemetry.metrics.queue.record(self.since.elapsed());
            return true;
        }
        false
    }
}

#[cfg(feature = "metrics")]
impl Drop for QueueTelemetry {
    fn drop(&mut self) {
        if self.leave() {
            self.telemetry.metrics.cancelled.increment(1);
        }
    }
}

// ===== impl LimitMetrics =====

#[cfg(feature = "metrics")]
impl LimitMetrics {
    fn new(layer: &'static str, name: &'static str) -> Self {
        let requests =
            |outcome| counter!(REQUESTS, "layer" => layer, "name" => name, "outcome" => outcome);
        let rejected = |reason| {
            counter!(
                REQUESTS,
                "layer" => layer,
                "name" => name,
                "outcome" => "rejected",
                "reason" => reason
            )
        };
        // Only a limit per key can be a shadow, and needs a key.
        let is_per_key = layer == "per_key";
        let occurs = |reason: &&str| is_per_key || !reason.starts_with("missing");
        let reasons = Reason::LABELS.iter().copied().filter(occurs);
        Self {
            admitted: requests("admitted"),
            waited: requests("waited"),
            cancelled: requests("cancelled"),
            shadowed: match is_per_key {
                true => requests("shadowed"),
                false => Counter::noop(),
            },
            rejected: reasons.map(|reason| (reason, rejected(reason))).collect(),
            queue: histogram!(QUEUE, "layer" => layer, "name" => name),
        }
    }

    fn rejected(&self, reason: &str) {
        let counter = self.rejected.iter().find(|(label, _)| *label == reason);
        debug_assert!(counter.is_some(), "no counter for {reason}");
        if let Some((_, counter)) = counter {
            counter.increment(1);
        }
    }
}

#[cfg(feature = "metrics")]
crate::macros::debug!(impl Debug for LimitMetrics |self| { .. });
