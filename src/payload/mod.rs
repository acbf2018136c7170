//! What the texts of model APIs say.

#[cfg(feature = "provider")]
pub(crate) mod error_body;
#[cfg(feature = "provider")]
pub(crate) mod json;
pub(crate) mod sse;
