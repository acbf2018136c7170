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
const WHAT: [&str; 18] = [
    "host",
    "url",
    "uri",
    "proto",
    "scheme",
    "prefix",
    "target",
    "override",
    "model",
    "deployment",
    "provider",
    "config",
    "organization",
    "project",
    "beta",
    "version",
    "fieldmask",
    "prefer",
];

/// How the names of those end that say who asks. To take one for it that is not costs a call, and not to take one that is gives an answer
/// to who must not have it.
const WHO: [&str; 31] = [
    "key",
    "token",
    "secret",
    "auth",
    "authorization",
    "authentication",
    "assertion",
    "bearer",
    "jwt",
    "dpop",
    "signature",
    "cert",
    "certificate",
    "cookie",
    "credential",
    "credentials",
    "password",
    "session",
    "sessionid",
    "principal",
    "identity",
    "subject",
    "user",
    "userid",
    "username",
    "login",
    "email",
    "groups",
    "roles",
    "account",
    "tenant",
];

/// What may stand after that.
const AFTER: [&str; 4] = ["-id", "_id", "-name", "_name"];

// ===== impl Role =====

impl Role {
    pub(super) fn of(name: &HeaderName, value: &HeaderValue) -> Option<Self> {
        let name = name.as_str();
        let stem = AFTER.iter().find_map(|after| name.strip_suffix(after));
        let stem = stem.unwrap_or(name);
        match name {
            "content-encoding" | "content-type" => Some(Self::What),
            // Of the request itself: another one each time, or the same for the attempts of one.
            "idempotency-key" | "x-idempotency-key" => None,
            name if name.starts_with("accept") => Some(Self::What),
            _ if WHAT.iter().any(|end| stem.ends_with(end)) => Some(Self::What),
            _ if value.is_sensitive() || WHO.iter().any(|end| stem.ends_with(end)) => {
                Some(Self::Who)
            }
            _ => None,
        }
    }
}
