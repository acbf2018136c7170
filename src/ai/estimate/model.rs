//! The model that a request is for.

use crate::payload::{json, json::Json};

/// Longer names are ignored.
pub(super) const LONGEST_NAME: usize = 256;

/// Returns the model in a body. Does not parse the rest of the body.
pub(super) fn of(body: &[u8]) -> Option<String> {
    let text = json::text(body);
    let mut members = Json::lenient(&text).members();
    let (_, name) = members.find(|(name, _)| name.is("model"))?;
    let name = name.as_str()?;
    (name.len() <= LONGEST_NAME).then(|| name.into_owned())
}

/// Returns `true` if the name is of an embedding model.
pub(super) fn makes_vectors(name: &str) -> bool {
    name.len() <= LONGEST_NAME && name.to_ascii_lowercase().contains("embed")
}
