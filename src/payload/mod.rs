//! Payload formats of model APIs.

#![cfg_attr(
    not(feature = "provider"),
    allow(dead_code, reason = "the cache reads less")
)]

#[cfg(feature = "provider")]
pub(crate) mod error_body;
pub(crate) mod in_band;
pub(crate) mod json;
pub(crate) mod sse;

/// Returns `true` if `name` is one of several, with `|` between them.
pub(crate) fn is_one_of(name: &str, names: &str) -> bool {
    names.split('|').any(|known| known == name)
}
