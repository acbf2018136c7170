//! What the texts of model APIs say.

pub(crate) mod error_body;
pub(crate) mod json;
