//! What the layers report: metrics and events. `guide/telemetry.md` has the table of each.

mod limit;
#[cfg(feature = "metrics")]
pub mod metrics;

/// Adds one to a counter, if the feature `metrics` is enabled. It is looked up each time, so this
/// is for what is rare.
///
/// ```text
/// count!(RETRIES, "name" => name, "cause" => cause);
/// ```
macro_rules! count {
    ($metric:ident $(, $label:literal => $value:expr)*) => {
        #[cfg(feature = "metrics")]
        ::metrics::counter!($crate::telemetry::metrics::$metric $(, $label => $value)*).increment(1)
    };
}

/// Records a call of the store of shared limits.
#[cfg(feature = "redis")]
#[cfg_attr(
    not(feature = "metrics"),
    allow(unused_variables, reason = "only metrics know it")
)]
pub(crate) fn store_called(
    operation: &'static str,
    outcome: &'static str,
    took: std::time::Duration,
) {
    count!(STORE_CALLS, "operation" => operation, "outcome" => outcome);
    #[cfg(feature = "metrics")]
    ::metrics::histogram!(metrics::STORE_CALL, "operation" => operation).record(took);
}

/// The name of a layer that has none, as a label.
pub(crate) const DEFAULT_NAME: &str = "default";

pub(crate) use self::limit::{LimitTelemetry, QueueTelemetry};
pub(crate) use count;
