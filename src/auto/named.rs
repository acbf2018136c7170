//! The model that a body names, and another one in its place.

use std::{fmt, ops::Range};

use serde::de::{Deserialize, Deserializer, IgnoredAny, Visitor};

/// What a request says when any model will do.
const AUTO: &str = "auto";

/// Where a body that is an object of JSON names its model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Named {
    /// The last one that is named counts, as with most readers.
    model: Option<String>,
    /// Where the values stand: all are exchanged, since readers differ in which of them counts.
    values: Vec<Range<usize>>,
    /// The place behind the opening brace.
    inside: usize,
    is_empty: bool,
}

/// Whether a member's name is that of the model.
struct IsModel(bool);

struct IsModelVisitor;

// ===== impl Named =====

impl Named {
    /// `None` where the body is no object of JSON.
    pub(super) fn read(body: &[u8]) -> Option<Self> {
        let mut at = expect(body, 0, b'{')?;
        let mut named = Self {
            inside: at,
            ..Self::default()
        };
        if let Some(end) = expect(body, at, b'}') {
            named.is_empty = true;
            return is_end(body, end).then_some(named);
        }
        loop {
            let name = space(body, at);
            if body.get(name) != Some(&b'"') {
                return None;
            }
            let (IsModel(is_model), end) = value(body, name)?;
            let from = space(body, expect(body, end, b':')?);
            let (IgnoredAny, to) = value(body, from)?;
            if is_model {
                named.model = serde_json::from_slice(body.get(from..to)?).ok();
                named.values.push(from..to);
            }
            match expect(body, to, b',') {
                Some(next) => at = next,
                None => return is_end(body, expect(body, to, b'}')?).then_some(named),
            }
        }
    }

    /// The model that is meant; `None` where any will do.
    pub(super) fn model(&self) -> Option<&str> {
        self.model.as_deref().filter(|model| *model != AUTO)
    }

    /// The same body with another model, as it is written in JSON. `None` if this was read from another body.
    pub(super) fn put(&self, body: &[u8], model: &str) -> Option<Vec<u8>> {
        let mut put = Vec::with_capacity(body.len() + model.len() + "\"model\":,".len());
        let mut copied = 0;
        if self.values.is_empty() {
            put.extend_from_slice(body.get(..self.inside)?);
            put.extend_from_slice(b"\"model\":");
            put.extend_from_slice(model.as_bytes());
            if !self.is_empty {
                put.push(b',');
            }
            copied = self.inside;
        }
        for value in &self.values {
            put.extend_from_slice(body.get(copied..value.start)?);
            put.extend_from_slice(model.as_bytes());
            copied = value.end;
        }
        put.extend_from_slice(body.get(copied..)?);
        Some(put)
    }
}

/// The first place from `at` on without space.
fn space(body: &[u8], at: usize) -> usize {
    let rest = body.get(at..).unwrap_or_default();
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    at + rest.iter().take_while(|byte| is_space(byte)).count()
}

/// The place behind `byte`, if it is the next one.
fn expect(body: &[u8], at: usize, byte: u8) -> Option<usize> {
    let at = space(body, at);
    (body.get(at) == Some(&byte)).then_some(at + 1)
}

fn is_end(body: &[u8], at: usize) -> bool {
    space(body, at) == body.len()
}

/// The value that begins at `at`, and the place behind it.
fn value<'a, T: Deserialize<'a>>(body: &'a [u8], at: usize) -> Option<(T, usize)> {
    let mut values = serde_json::Deserializer::from_slice(body.get(at..)?).into_iter();
    let value = values.next()?.ok()?;
    Some((value, at + values.byte_offset()))
}

// ===== impl IsModel =====

impl<'de> Deserialize<'de> for IsModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(IsModelVisitor)
    }
}

impl Visitor<'_> for IsModelVisitor {
    type Value = IsModel;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<IsModel, E> {
        Ok(IsModel(name == "model"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn only_the_model_is_exchanged() {
        // What there is, and what is sent
        let table = [
            (r#"{"model":"auto"}"#, r#"{"model":"m"}"#),
            (
                " { \"a\" : [1, {\"model\":2}] , \"model\" : \"x\\\"y\" , \"seed\":1.50 }\n",
                " { \"a\" : [1, {\"model\":2}] , \"model\" : \"m\" , \"seed\":1.50 }\n",
            ),
            (r#"{"model":null,"b":1}"#, r#"{"model":"m","b":1}"#),
            (r#"{"model":{"a":[]},"b":1}"#, r#"{"model":"m","b":1}"#),
            (r#"{"model":12}"#, r#"{"model":"m"}"#),
            (r#"{"m\u006fdel":"a"}"#, r#"{"m\u006fdel":"m"}"#),
            (
                r#"{"model":"a","model":"b"}"#,
                r#"{"model":"m","model":"m"}"#,
            ),
            ("{}", r#"{"model":"m"}"#),
            (" {\n} ", " {\"model\":\"m\"\n} "),
            (r#"{ "a": 1 }"#, r#"{"model":"m", "a": 1 }"#),
        ];
        for (body, expected) in table {
            let named = Named::read(body.as_bytes()).expect(body);
            let put = named.put(body.as_bytes(), "\"m\"").unwrap();
            assert_eq!(String::from_utf8(put).unwrap(), expected);
        }
    }

    #[test]
    fn what_is_no_object_names_nothing() {
        for body in [
            "",
            " ",
            "text",
            "[]",
            "1",
            "\"model\"",
            "{",
            "{]",
            "{,}",
            r#"{"model"}"#,
            r#"{"model":}"#,
            r#"{"model":"a""#,
            r#"{"model":"a",}"#,
            r#"{"model":"a"}x"#,
            r#"{"model":"a"} {}"#,
            r#"{1:2}"#,
            r#"{"a":1 "model":"a"}"#,
            r#"{"a":12true}"#,
        ] {
            assert_eq!(Named::read(body.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn the_last_name_counts_and_auto_is_none() {
        let table = [
            (r#"{"model":"a","model":"b"}"#, Some("b")),
            (r#"{"model":"a","model":"auto"}"#, None),
            (r#"{"model":"\u0061uto"}"#, None),
            (r#"{"model":"Auto"}"#, Some("Auto")),
            (r#"{"model":""}"#, Some("")),
            (r#"{"model":null}"#, None),
            (r#"{"messages":[{"model":"a"}]}"#, None),
        ];
        for (body, expected) in table {
            let named = Named::read(body.as_bytes()).unwrap();
            assert_eq!(named.model(), expected, "{body}");
        }
    }

    #[test]
    fn another_body_is_not_torn() {
        let named = Named::read(br#"{"a":1,"model":"a"}"#).unwrap();
        assert_eq!(named.put(b"{}", "\"m\""), None);
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[a-z\"\\\\{}:,é]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 12, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::hash_map("[a-z\"}]{0,5}|model", inner, 0..3)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_object_gets_the_model_and_keeps_the_rest(
            members in prop::collection::hash_map("[a-z\"}]{0,5}|model", json(), 0..4),
            is_pretty: bool,
        ) {
            let mut object: Map<_, _> = members.into_iter().collect();
            let body = if is_pretty {
                serde_json::to_vec_pretty(&object).unwrap()
            } else {
                serde_json::to_vec(&object).unwrap()
            };
            let put = Named::read(&body).unwrap().put(&body, "\"m\"").unwrap();
            object.insert("model".into(), "m".into());
            prop_assert_eq!(serde_json::from_slice::<Map<_, _>>(&put).unwrap(), object);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let is_object = serde_json::from_slice::<Map<String, Value>>(&body).is_ok();
            let named = Named::read(&body);
            prop_assert!(named.is_some() || !is_object);
        }
    }
}
