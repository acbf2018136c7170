//! Rate limit headers: parsed from providers, and written by servers.

#[cfg(feature = "per-key")]
pub(crate) mod emit;
#[cfg_attr(
    not(feature = "provider"),
    allow(dead_code, unreachable_pub, reason = "a retry reads only the resets")
)]
pub(crate) mod limits;
#[cfg_attr(
    not(feature = "provider"),
    allow(dead_code, unreachable_pub, reason = "a retry reads only the resets")
)]
mod parse;
#[cfg(feature = "per-key")]
pub(crate) mod standing;
