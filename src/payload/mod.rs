//! Payload formats of model APIs.

#[cfg(any(feature = "cache", feature = "provider"))]
pub(crate) mod error_body;
#[cfg(any(feature = "cache", feature = "provider"))]
#[cfg_attr(
    not(feature = "provider"),
    allow(dead_code, reason = "the cache reads less")
)]
pub(crate) mod json;
pub(crate) mod sse;
