//! Rate limit headers: parsed from providers, and written by servers.

#![cfg_attr(
    not(feature = "provider"),
    allow(dead_code, unreachable_pub, reason = "a retry reads only the resets")
)]

#[cfg(feature = "per-key")]
pub(crate) mod emit;
pub(crate) mod limits;
mod parse;
#[cfg(feature = "per-key")]
pub(crate) mod standing;
