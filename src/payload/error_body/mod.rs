//! Errors of model APIs, in error responses and in successful ones.

#[cfg(feature = "provider")]
mod body;
#[cfg(feature = "provider")]
mod codes;
#[cfg_attr(
    not(feature = "provider"),
    allow(dead_code, reason = "the cache reads less")
)]
mod in_band;
#[cfg(feature = "provider")]
mod kind;
#[cfg(feature = "provider")]
mod reader;
#[cfg(feature = "provider")]
mod reason;
#[cfg(feature = "provider")]
mod shapes;
#[cfg(all(test, feature = "provider"))]
mod tests;

#[cfg(feature = "cache")]
pub(crate) use self::in_band::error_in;
#[cfg(feature = "provider")]
pub use self::reason::ThrottleReason;
#[cfg(feature = "provider")]
pub(crate) use self::{
    in_band::{Says, says},
    kind::Diagnosis,
    reader::ErrorReader,
    reason::LimitError,
};
