//! Which headers of a request make it another one.

use http::{HeaderName, HeaderValue};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// It says what is asked for.
    What,
    /// It says who asks.
    Who,
}

/// Names of headers that say what is asked for; of a gateway's there are too many to list, and these are how they end.
const WHAT: [&str; 14] = [
    "host",
    "url",
    "uri",
    "target",
    "override",
    "model",
    "deployment",
    "provider",
    "config",
    "organization",
    "project",
    "beta",
    "api-version",
    "anthropic-version",
];

/// How the names of those end that say who asks. To take one for it that is not costs a call, and not to take one that is gives an answer
/// to who must not have it.
const WHO: [&str; 19] = [
    "key",
    "token",
    "secret",
    "auth",
    "authorization",
    "authentication",
    "assertion",
    "jwt",
    "cookie",
    "credential",
    "credentials",
    "password",
    "session",
    "session-id",
    "principal",
    "identity",
    "user",
    "user-id",
    "email",
];

// ===== impl Role =====

impl Role {
    pub(super) fn of(name: &HeaderName, value: &HeaderValue) -> Option<Self> {
        match name.as_str() {
            "accept" | "accept-encoding" | "accept-language" | "content-encoding"
            | "content-type" => Some(Self::What),
            // Of the request itself: another one each time, or the same for the attempts of one.
            "idempotency-key" | "x-idempotency-key" => None,
            name if WHAT.iter().any(|end| name.ends_with(end)) => Some(Self::What),
            name if value.is_sensitive() || WHO.iter().any(|end| name.ends_with(end)) => {
                Some(Self::Who)
            }
            _ => None,
        }
    }
}
