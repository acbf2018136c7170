//! The name of the model that a request asks for.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::provider::plain::{Look, Plain};

/// A longer name is none.
pub(super) const LONGEST_NAME: usize = 256;

/// Reads no further than the name of the model.
struct Name<'a>(&'a mut Option<String>);

/// The name of the model that a body asks for.
pub(super) fn of(body: &[u8]) -> Option<String> {
    let mut name = None;
    // It fails where reading ends early; the name has been found then.
    let _ = Name(&mut name).deserialize(&mut serde_json::Deserializer::from_slice(body));
    name
}

/// Whether a model makes vectors, going by its name.
pub(super) fn makes_vectors(name: Plain<'_>) -> bool {
    let Plain::Text(name) = name else {
        return false;
    };
    let name = name.as_bytes();
    name.len() <= LONGEST_NAME
        && name
            .windows(b"embed".len())
            .any(|part| part.eq_ignore_ascii_case(b"embed"))
}

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Name<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let is_model = |key: Plain<'_>| key == Plain::Text("model");
        while let Some(is_model) = map.next_key_seed(Look(is_model))? {
            if is_model {
                *self.0 = map.next_value_seed(Look(|name: Plain<'_>| match name {
                    Plain::Text(name) if name.len() <= LONGEST_NAME => Some(name.to_owned()),
                    _ => None,
                }))?;
                return Ok(());
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(())
    }
}
