//! JSON texts as the cache compares them.

use std::ops::Range;

use crate::payload::json::Json;

/// What is nested deeper is compared byte by byte.
const MAX_DEPTH: u32 = 128;

/// Appends the canonical form of a JSON text to `out`. Returns `false` if it has none; then `out`
/// may end with a part of one.
///
/// The canonical form has no white space, sorts members by name, and escapes in strings only what
/// must be escaped. Numbers stay as they are written: `1.0` is not `1`, and no digit is lost. An
/// object in which a name occurs twice has no canonical form, since servers disagree on which of
/// the two counts.
pub(super) fn append_canonical(json: Json<'_>, out: &mut Vec<u8>) -> bool {
    append(&mut json.tokens(), out, MAX_DEPTH).is_some()
}

/// Appends the next value. Returns `false` if there is the end of an array or object instead.
fn append<'a>(
    tokens: &mut impl Iterator<Item = Json<'a>>,
    out: &mut Vec<u8>,
    depth: u32,
) -> Option<bool> {
    let token = tokens.find(|token| !matches!(token.text(), "," | ":"))?;
    match token.text() {
        "]" | "}" => return Some(false),
        "[" => {
            out.push(b'[');
            while append(tokens, out, depth.checked_sub(1)?)? {
                out.push(b',');
            }
            out.push(b']');
        }
        "{" => {
            let depth = depth.checked_sub(1)?;
            let (mut text, mut members) = (Vec::new(), Vec::new());
            loop {
                let start = text.len();
                if !append(tokens, &mut text, depth)? {
                    break;
                }
                let name = start..text.len();
                text.push(b':');
                append(tokens, &mut text, depth)?;
                text.push(b',');
                members.push((name, start..text.len()));
            }
            let name = |(name, _): &(Range<usize>, _)| &text[name.clone()];
            members.sort_unstable_by(|a, b| name(a).cmp(name(b)));
            if !members.is_sorted_by(|a, b| name(a) < name(b)) {
                return None;
            }
            out.push(b'{');
            for (_, member) in members {
                out.extend_from_slice(&text[member]);
            }
            out.push(b'}');
        }
        // Strict: two texts of which a part is replaced must not have the same form.
        text if text.starts_with('"') => {
            let text: String = serde_json::from_str(text).ok()?;
            serde_json::to_writer(out, &text).ok()?;
        }
        text => out.extend_from_slice(text.as_bytes()),
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn canonical(json: &str) -> Option<String> {
        let json = Json::parse(json.as_bytes())?;
        let mut out = b"before".to_vec();
        let is_canonical =
            (json.is_object() || json.is_array()) && append_canonical(json, &mut out);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("before").unwrap().to_owned();
        is_canonical.then_some(text)
    }

    #[test]
    fn texts_of_the_same_json_are_spelled_the_same() {
        let table: &[(&str, &str)] = &[
            (r#"{"a":1,"b":2}"#, "{ \"b\" : 2 ,\r\n\t\"a\":1 } "),
            (r#"{"a":{"x":[],"y":{}}}"#, r#"{"a":{"y":{},"x":[ ]}}"#),
            (r#"["a/\u0041\n"]"#, r#"["a\/A\u000a"]"#),
            (r#"{"\u0061":1}"#, r#"{"a":1}"#),
            (" [ null ] ", "[null]"),
        ];
        for (one, other) in table {
            assert_eq!(canonical(one), canonical(other), "{one} and {other}");
            assert!(canonical(one).is_some(), "{one}");
        }
    }

    #[test]
    fn what_differs_is_spelled_differently() {
        let texts = [
            "[1]",
            "[1.0]",
            "[1e0]",
            "[18446744073709551616]",
            "[18446744073709551617]",
            "[0.1]",
            "[0.1000000000000000055]",
            "[-0]",
            "[0]",
            "[]",
            "{}",
            "[1,2]",
            "[2,1]",
            "[12]",
            "[[1],2]",
            "[[1,2]]",
            r#"["1"]"#,
            r#"["1,2"]"#,
            r#"["1","2"]"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{},"b":1}"#,
            r#"["\\"]"#,
            r#"["\""]"#,
            "[null]",
            r#"["null"]"#,
        ];
        for (index, one) in texts.iter().enumerate() {
            for other in &texts[..index] {
                assert_ne!(canonical(one), canonical(other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn what_is_not_json_is_left_alone() {
        for text in [
            "",
            " ",
            "1",
            "text",
            "\"text\"",
            "{",
            "{]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{,}",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{\"a\",1}",
            "{a:1}",
            "{1:1}",
            "[] []",
            "[]x",
            "[\"]",
            "[\"\\\"]",
            "[\"\\",
            "\u{feff}[1]",
            r#"{"a":1,"a":1}"#,
            r#"{"a":1,"b":0,"a":2}"#,
            r#"{"x":{"b":1,"a":1,"\u0061":2}}"#,
            r#"["\ud800"]"#,
            r#"["\x"]"#,
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
    }

    /// All texts of up to so many of these parts.
    fn texts(parts: &[&str], most: u32) -> Vec<String> {
        let mut all = vec![String::new()];
        let mut longest = all.clone();
        for _ in 0..most {
            let longer = longest
                .iter()
                .flat_map(|text| parts.iter().map(move |part| format!("{text}{part}")));
            longest = longer.collect();
            all.extend_from_slice(&longest);
        }
        all
    }

    #[test]
    fn whatever_comes_to_the_same_is_the_same_json() {
        let in_lists = texts(
            &["1", "\"a\"", r#""\u0061""#, " ", ",", "null", "[", "]"],
            5,
        );
        let members = [
            "\"a\":1,",
            "\"b\" :1,",
            "\"b\":2,",
            "\"\\u0061\":{}",
            "{",
            "}",
        ];
        let in_objects = texts(&members, 5);
        let texts = in_lists.iter().map(|text| format!("[{text}]")).chain(
            in_objects
                .iter()
                .map(|text| format!("{{{}}}", text.trim_end_matches(','))),
        );
        let mut seen = std::collections::HashMap::new();
        let mut same = 0;
        for text in texts {
            let Some(canonical) = canonical(&text) else {
                continue;
            };
            let json = serde_json::from_str::<Value>(&text).ok();
            let before = seen.entry(canonical).or_insert_with(|| json.clone());
            same += u32::from(*before == json);
            assert_eq!(*before, json, "{text}");
        }
        assert!(seen.len() > 100 && same > 500, "{} and {same}", seen.len());
    }

    #[test]
    fn deep_nesting_overflows_nothing() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(canonical(&nested(128)).is_some());
        assert_eq!(canonical(&nested(129)), None);
        assert_eq!(canonical(&nested(100_000)), None);
        let objects = format!("{}1{}", "{\"a\":".repeat(50_000), "}".repeat(50_000));
        assert_eq!(canonical(&objects), None);
        assert_eq!(canonical(&"[".repeat(100_000)), None);
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (-1e9..1e9_f64).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(5, 64, 8, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..8).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..8)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Another text of the same JSON: members the other way round, more space, every letter
    /// escaped.
    fn respell(value: &Value, out: &mut String) {
        match value {
            Value::Array(values) => {
                out.push_str("[ ");
                for (index, value) in values.iter().enumerate() {
                    out.push_str(if index > 0 { "\n," } else { "" });
                    respell(value, out);
                }
                out.push_str("\t]");
            }
            Value::Object(members) => {
                out.push_str("{\r");
                for (index, (key, value)) in members.iter().rev().enumerate() {
                    out.push_str(if index > 0 { " , " } else { "" });
                    respell(&Value::from(key.clone()), out);
                    out.push_str(" : ");
                    respell(value, out);
                }
                out.push_str(" }");
            }
            Value::String(text) => {
                out.push('"');
                for unit in text.encode_utf16() {
                    out.push_str(&format!("\\u{unit:04X}"));
                }
                out.push('"');
            }
            plain => out.push_str(&plain.to_string()),
        }
    }

    proptest! {
        #[test]
        fn every_spelling_of_a_json_comes_to_the_same(value in any_json()) {
            let value = Value::from(vec![value]);
            let mut respelled = String::new();
            respell(&value, &mut respelled);
            let plain = canonical(&value.to_string());
            prop_assert!(plain.is_some());
            prop_assert_eq!(&plain, &canonical(&respelled));
            prop_assert_eq!(&plain, &canonical(&serde_json::to_string_pretty(&value).unwrap()));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            canonical(&text);
            canonical(&format!("{{\"a\":[{text}]}}"));
        }
    }
}
