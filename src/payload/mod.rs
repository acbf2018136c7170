//! What the texts of model APIs say.

pub(crate) mod json;
