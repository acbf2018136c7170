//! Reads and replaces the model in a request body.

use crate::payload::json::Json;

/// The model name that matches every target.
const AUTO: &str = "auto";

/// Returns the model in a body; `None` if there is none, or if it is `auto`.
pub(super) fn model(body: &[u8]) -> Option<String> {
    let model = Json::parse(body)?.get("model")?.as_str()?;
    (model != AUTO).then(|| model.into_owned())
}

/// Returns the body with another model, given as a JSON value. `None` if the body is not a JSON
/// object.
pub(super) fn with_model(body: &[u8], model: &str) -> Option<Vec<u8>> {
    let object = Json::parse(body)?;
    // Replace every duplicate, since parsers differ in which one counts.
    let values: Vec<_> = object.all("model").collect();
    if values.is_empty() {
        return object.with_member(body, "model", model);
    }
    // Start at the end, so that the other ranges stay valid.
    let mut values = values.into_iter().rev();
    values.try_fold(body.to_vec(), |body, value| value.replaced(&body, model))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    #[test]
    fn only_the_model_is_replaced() {
        // Body, expected body.
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
            let put = with_model(body.as_bytes(), "\"m\"").expect(body);
            assert_eq!(String::from_utf8(put).unwrap(), expected);
        }
    }

    #[test]
    fn non_objects_have_no_model() {
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
            assert_eq!(model(body.as_bytes()), None, "{body}");
            assert_eq!(with_model(body.as_bytes(), "\"m\""), None, "{body}");
        }
    }

    #[test]
    fn last_model_counts_and_auto_is_none() {
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
            assert_eq!(model(body.as_bytes()).as_deref(), expected, "{body}");
        }
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
        fn any_object_keeps_its_other_members(
            members in prop::collection::hash_map("[a-z\"}]{0,5}|model", json(), 0..4),
            is_pretty: bool,
        ) {
            let mut object: Map<_, _> = members.into_iter().collect();
            let body = if is_pretty {
                serde_json::to_vec_pretty(&object).unwrap()
            } else {
                serde_json::to_vec(&object).unwrap()
            };
            let put = with_model(&body, "\"m\"").unwrap();
            object.insert("model".into(), "m".into());
            prop_assert_eq!(serde_json::from_slice::<Map<_, _>>(&put).unwrap(), object);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(body in prop::collection::vec(any::<u8>(), 0..60)) {
            let is_object = serde_json::from_slice::<Map<String, Value>>(&body).is_ok();
            model(&body);
            prop_assert!(with_model(&body, "1").is_some() || !is_object);
        }
    }
}
