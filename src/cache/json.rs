//! JSON texts as the cache compares them.

use std::ops::Range;

use memchr::memchr;

use crate::payload::json::Json;

/// What is nested deeper is compared byte by byte.
const MAX_DEPTH: u32 = 128;

/// Appends the canonical form of a JSON object or array to `out`. Returns `false` and appends
/// nothing if the text has none.
///
/// The canonical form has no white space, sorts members by name, and escapes in strings only what
/// must be escaped. Numbers stay as they are written: `1.0` is not `1`, and no digit is lost. An
/// object in which a name occurs twice has no canonical form, since servers disagree on which of
/// the two counts.
///
/// It checks brackets, commas and colons, and takes any word for a number. Texts that differ in
/// more than their spelling have different forms, whether they are JSON or not.
///
/// Calls `member` with each member of an object that is not inside of another value.
pub(super) fn append_canonical(
    text: &str,
    out: &mut Vec<u8>,
    member: impl FnMut(&[u8], &[u8]),
) -> bool {
    let start = out.len();
    let mut writer = Writer {
        tokens: Json::tokens_of(text),
        out,
        members: Vec::with_capacity(16),
        outermost: member,
    };
    let is_written = writer.document().is_some();
    if !is_written {
        out.truncate(start);
    }
    is_written
}

/// Writes a text token by token.
struct Writer<'a, T, F> {
    tokens: T,
    out: &'a mut Vec<u8>,
    /// The members of all objects that are open, the innermost last.
    members: Vec<Member>,
    /// Called with the members of the outermost object.
    outermost: F,
}

/// The position of a member in the output.
#[derive(Clone)]
struct Member {
    name: Range<usize>,
    whole: Range<usize>,
}

impl<'json, T, F> Writer<'_, T, F>
where
    T: Iterator<Item = Json<'json>>,
    F: FnMut(&[u8], &[u8]),
{
    fn document(&mut self) -> Option<()> {
        let first = self.tokens.next()?;
        if !matches!(first.text(), "{" | "[") {
            return None;
        }
        self.value(first, MAX_DEPTH)?;
        self.tokens.next().is_none().then_some(())
    }

    fn value(&mut self, first: Json<'_>, depth: u32) -> Option<()> {
        match first.text() {
            "{" => self.object(depth.checked_sub(1)?)?,
            "[" => self.array(depth.checked_sub(1)?)?,
            "}" | "]" | "," | ":" => return None,
            text if text.starts_with('"') => self.string(first)?,
            text => self.out.extend_from_slice(text.as_bytes()),
        }
        Some(())
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        self.out.push(b'[');
        let mut token = self.tokens.next()?;
        while token.text() != "]" {
            self.value(token, depth)?;
            self.out.push(b',');
            token = self.next_item("]")?;
        }
        self.out.push(b']');
        Some(())
    }

    fn object(&mut self, depth: u32) -> Option<()> {
        self.out.push(b'{');
        let outer = self.members.len();
        let mut token = self.tokens.next()?;
        while token.text() != "}" {
            let start = self.out.len();
            let is_name = token.text().starts_with('"');
            is_name.then(|| self.string(token))??;
            let name = start..self.out.len();
            self.tokens.next().filter(|colon| colon.text() == ":")?;
            self.out.push(b':');
            let value = self.tokens.next()?;
            self.value(value, depth)?;
            if depth == MAX_DEPTH - 1 {
                let value = name.end + 1..;
                (self.outermost)(&self.out[name.clone()], &self.out[value]);
            }
            self.out.push(b',');
            let whole = start..self.out.len();
            self.members.push(Member { name, whole });
            token = self.next_item("}")?;
        }
        self.sort(outer)?;
        self.members.truncate(outer);
        self.out.push(b'}');
        Some(())
    }

    /// The first token of the next item after a comma, or the bracket that ends the items.
    fn next_item(&mut self, end: &str) -> Option<Json<'json>> {
        let token = self.tokens.next()?;
        if token.text() != "," {
            return Some(token).filter(|token| token.text() == end);
        }
        self.tokens.next().filter(|token| token.text() != end)
    }

    /// Sorts the members of the innermost object. Returns `None` if two have the same name.
    fn sort(&mut self, outer: usize) -> Option<()> {
        let members = &mut self.members[outer..];
        let out = &mut *self.out;
        if members.is_sorted_by(|a, b| out[a.name.clone()] < out[b.name.clone()]) {
            return Some(());
        }
        let start = members[0].whole.start;
        members.sort_unstable_by(|a, b| out[a.name.clone()].cmp(&out[b.name.clone()]));
        if !members.is_sorted_by(|a, b| out[a.name.clone()] < out[b.name.clone()]) {
            return None;
        }
        let end = out.len();
        for member in members {
            out.extend_from_within(member.whole.clone());
        }
        out.copy_within(end.., start);
        out.truncate(end);
        Some(())
    }

    /// Strict: two texts of which a part is replaced must not have the same form.
    fn string(&mut self, json: Json<'_>) -> Option<()> {
        let literal = json.text();
        if memchr(b'\\', literal.as_bytes()).is_some() {
            let text: String = serde_json::from_str(literal).ok()?;
            return serde_json::to_writer(&mut *self.out, &text).ok();
        }
        self.out.extend_from_slice(literal.as_bytes());
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn canonical(json: &str) -> Option<String> {
        let mut out = b"before".to_vec();
        let is_json = append_canonical(json, &mut out, |_, _| {});
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("before").unwrap().to_owned();
        assert!(is_json || text.is_empty());
        is_json.then_some(text)
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
