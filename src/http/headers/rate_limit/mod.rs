//! Headers that tell of limits: reading those of providers, writing those of servers.

#[cfg(feature = "per-key")]
pub(crate) mod emit;
#[cfg(feature = "provider")]
pub(crate) mod limits;
#[cfg(feature = "provider")]
mod parse;
#[cfg(feature = "per-key")]
pub(crate) mod standing;
