//! Items of `RateLimit-Policy`, which most responses share.

use http::HeaderValue;

use super::{Standing, item, seconds};

/// The policy of one limit as a header value.
#[derive(Debug, Clone)]
pub(crate) struct PolicyItem {
    standing: Standing<'static>,
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
            standing: *standing,
            value: format(standing)?,
        })
    }

    fn is_of(&self, standing: &Standing<'_>) -> bool {
        let own = &self.standing;
        own.quota == standing.quota && own.window == standing.window && own.name == standing.name
    }
}
