//! Layers for model APIs: limits, stream errors, routing.

pub(crate) mod estimate;
pub mod provider;
pub mod router;
pub mod stack;
pub mod stream_errors;
pub(crate) mod tokens;
pub(crate) mod usage;
