//! Items of `RateLimit-Policy`, which most responses share.

use std::time::Duration;

use http::HeaderValue;

use super::{Standing, item, seconds};

/// The policy of one limit as a header value.
#[derive(Debug, Clone)]
pub(crate) struct PolicyItem {
    name: &'static str,
    quota: u64,
    window: Duration,
    value: HeaderValue,
}

/// Returns the policy of a limit, cloned from `policies` if it is there.
pub(super) fn value(standing: &Standing<'_>, policies: &[PolicyItem]) -> Option<HeaderValue> {
    match policies.iter().find(|policy| policy.is_of(standing)) {
        Some(policy) => Some(policy.value.clone()),
        None => format(standing),
    }
}

fn format(standing: &Standing<'_>) -> Option<HeaderValue> {
    let window = seconds(standing.window).max(1);
    super::value(item(standing.name, [("q", standing.quota), ("w", window)]))
}

// ===== impl PolicyItem =====

impl PolicyItem {
    pub(crate) fn new(standing: &Standing<'static>) -> Option<Self> {
        Some(Self {
            name: standing.name,
            quota: standing.quota,
            window: standing.window,
            value: format(standing)?,
        })
    }

    fn is_of(&self, standing: &Standing<'_>) -> bool {
        self.quota == standing.quota && self.window == standing.window && self.name == standing.name
    }
}
