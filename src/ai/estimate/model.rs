//! The name of the model that a request asks for.

use crate::payload::json::Json;

/// A longer name is none.
pub(super) const LONGEST_NAME: usize = 256;

/// The name of the model that a body asks for, read no further than that.
pub(super) fn of(body: &[u8]) -> Option<String> {
    let body = Json::lenient(std::str::from_utf8(body).ok()?);
    let (_, name) = body.members().find(|(name, _)| name.is("model"))?;
    let name = name.as_str()?;
    (name.len() <= LONGEST_NAME).then(|| name.into_owned())
}

/// Whether a model makes vectors, going by its name.
pub(super) fn makes_vectors(name: &str) -> bool {
    let mut parts = name.as_bytes().windows(b"embed".len());
    name.len() <= LONGEST_NAME && parts.any(|part| part.eq_ignore_ascii_case(b"embed"))
}
