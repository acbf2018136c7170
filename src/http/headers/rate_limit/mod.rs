//! Rate limit headers: parsed from providers, and written by servers.

#[cfg(feature = "per-key")]
pub(crate) mod emit;
#[cfg(feature = "provider")]
pub(crate) mod limits;
#[cfg(feature = "provider")]
mod parse;
#[cfg(feature = "per-key")]
pub(crate) mod standing;
