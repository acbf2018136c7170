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
const WHAT: [&str; 23] = [
    "host",
    "url",
    "uri",
    "proto",
    "scheme",
    "prefix",
    "method",
    "target",
    "override",
    "model",
    "deployment",
    "provider",
    "config",
    "policy",
    "guardrailidentifier",
    "organization",
    "project",
    "beta",
    "version",
    "fieldmask",
    "prefer",
    "-accept",
    "-sse",
];

/// How the names of those end that say who asks. To take one for it that is not costs a call, and not to take one that is gives an answer
/// to who must not have it.
const WHO: [&str; 42] = [
    "key",
    "token",
    "secret",
    "auth",
    "authorization",
    "authentication",
    "assertion",
    "bearer",
    "jwt",
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
    "sub",
    "user",
    "-uid",
    "userid",
    "username",
    "userinfo",
    "login",
    "email",
    "client-id",
    "consumer",
    "customer",
    "account",
    "tenant",
    "workspace",
    "org",
    "orgid",
    "team",
    "group",
    "groups",
    "role",
    "roles",
];

/// What may stand after that.
const AFTER: [&str; 6] = ["-id", "_id", "-name", "_name", "-info", "-identifier"];

/// How the names of those begin that tell of the client's program.
const PROGRAM: [&str; 3] = ["x-stainless-", "x-fern-", "sec-"];

/// Of the request itself: another one each time, or the same for the attempts of one.
const OF_ONE_REQUEST: [&str; 3] = [
    "idempotency-key",
    "x-idempotency-key",
    "x-vercel-proxy-signature",
];

// ===== impl Role =====

impl Role {
    pub(super) fn of(name: &HeaderName, value: &HeaderValue) -> Option<Self> {
        let name = name.as_str();
        let stem = AFTER.iter().find_map(|after| name.strip_suffix(after));
        let begins = |start: &&str| name.starts_with(*start);
        let ends =
            |ends: &[&str]| is_one_of(name, ends) || stem.is_some_and(|stem| is_one_of(stem, ends));
        if OF_ONE_REQUEST.contains(&name) || PROGRAM.iter().any(begins) {
            None
        } else if name.starts_with("accept")
            || matches!(name, "content-encoding" | "content-type")
            || ends(&WHAT)
        {
            Some(Self::What)
        } else if value.is_sensitive() || ends(&WHO) {
            Some(Self::Who)
        } else {
            None
        }
    }
}

/// Whether the name ends with one of these.
fn is_one_of(name: &str, ends: &[&str]) -> bool {
    let last = name.as_bytes().last();
    // To look at the last letter first saves most of the comparisons.
    let mut ends = ends.iter().filter(|end| end.as_bytes().last() == last);
    ends.any(|end| name.ends_with(end))
}
