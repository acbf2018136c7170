//! One spelling for all texts of the same JSON.

use std::{borrow::Cow, ops::Range};

use serde::de::IgnoredAny;

/// As deep as `serde_json` goes. What is nested deeper is compared byte by byte.
const DEPTH: u32 = 128;

/// A place in a text that is known to be JSON, and what has been written of it.
struct Writer<'a> {
    text: &'a str,
    at: usize,
    out: &'a mut Vec<u8>,
}

/// Where a member of an object was written to.
struct Member {
    key: Range<usize>,
    whole: Range<usize>,
}

/// Appends the canonical form of the JSON text `json` to `out`, and says whether it is one.
///
/// No white space, members sorted by their names, of several with the same name the last one, strings without escapes that
/// are not needed. Numbers stay as they are written: `1.0` is not `1`, and no digit is lost.
pub(super) fn append(json: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let written = text(json).and_then(|text| {
        let mut writer = Writer { text, at: 0, out };
        writer.value(DEPTH)
    });
    if written.is_none() {
        out.truncate(start);
    }
    written.is_some()
}

/// The text, if it is JSON.
fn text(json: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(json).ok()?;
    // Neither builds anything nor recurses.
    serde_json::from_str::<IgnoredAny>(text).ok()?;
    Some(text)
}

// ===== impl Writer =====

impl Writer<'_> {
    fn value(&mut self, depth: u32) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => self.string(),
            _ => self.literal(),
        }
    }

    /// The next byte that is not white space.
    fn peek(&mut self) -> Option<u8> {
        let rest = &self.text.as_bytes()[self.at..];
        let space = rest.iter().take_while(|byte| is_space(**byte)).count();
        self.at += space;
        rest.get(space).copied()
    }

    fn object(&mut self, depth: u32) -> Option<()> {
        self.at += 1;
        self.out.push(b'{');
        let mut members = Vec::new();
        loop {
            match self.peek()? {
                b'}' => break,
                b',' => self.at += 1,
                _ => members.push(self.member(depth)?),
            }
        }
        self.at += 1;
        sort(members, self.out);
        self.out.push(b'}');
        Some(())
    }

    fn member(&mut self, depth: u32) -> Option<Member> {
        let start = self.out.len();
        self.string()?;
        let key = start..self.out.len();
        // The colon.
        self.peek()?;
        self.at += 1;
        self.out.push(b':');
        self.value(depth)?;
        self.out.push(b',');
        let whole = start..self.out.len();
        Some(Member { key, whole })
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        self.at += 1;
        self.out.push(b'[');
        loop {
            match self.peek()? {
                b']' => break,
                b',' => self.at += 1,
                _ => {
                    self.value(depth)?;
                    self.out.push(b',');
                }
            }
        }
        self.at += 1;
        self.out.push(b']');
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let start = self.at;
        let bytes = self.text.as_bytes();
        let mut at = start + 1;
        let mut escapes = false;
        loop {
            match bytes.get(at)? {
                b'"' => break,
                b'\\' => {
                    escapes = true;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        self.at = at + 1;
        let literal = self.text.get(start..self.at)?;
        if escapes {
            // Half of a surrogate pair is no text: the whole is compared byte by byte.
            let string: Cow<'_, str> = serde_json::from_str(literal).ok()?;
            serde_json::to_writer(&mut *self.out, &string).ok()?;
        } else {
            self.out.extend_from_slice(literal.as_bytes());
        }
        Some(())
    }

    /// A number or a word.
    fn literal(&mut self) -> Option<()> {
        let rest = &self.text.as_bytes()[self.at..];
        let ends = |byte: &u8| is_space(*byte) || matches!(byte, b',' | b']' | b'}');
        let length = rest.iter().position(ends).unwrap_or(rest.len());
        self.out.extend_from_slice(&rest[..length]);
        self.at += length;
        (length > 0).then_some(())
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

/// Sorts members that were written at the end of `out`.
fn sort(mut members: Vec<Member>, out: &mut Vec<u8>) {
    let Some(first) = members.first().map(|member| member.whole.start) else {
        return;
    };
    let key = |member: &Member| &out[member.key.clone()];
    if members.is_sorted_by(|a, b| key(a) < key(b)) {
        return;
    }
    members.sort_by(|a, b| key(a).cmp(key(b)));
    let old = out.split_off(first);
    let within = |range: &Range<usize>| &old[range.start - first..range.end - first];
    for (index, member) in members.iter().enumerate() {
        let is_last = members
            .get(index + 1)
            .is_none_or(|next| within(&next.key) != within(&member.key));
        if is_last {
            out.extend_from_slice(within(&member.whole));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn canonical(json: &str) -> Option<String> {
        let mut out = b"before".to_vec();
        let is_json = append(json.as_bytes(), &mut out);
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
            (r#"{"a":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":1,"b":0,"a":2}"#, r#"{"b":0,"a":2}"#),
            (r#""a/\u0041\n""#, r#""a\/A\u000a""#),
            (r#"{"\u0061":1}"#, r#"{"a":1}"#),
            (r#"{"a":1,"\u0061":2}"#, r#"{"a":2}"#),
            ("  null", "null"),
        ];
        for (one, other) in table {
            assert_eq!(canonical(one), canonical(other), "{one} and {other}");
            assert!(canonical(one).is_some(), "{one}");
        }
    }

    #[test]
    fn what_differs_is_spelled_differently() {
        let texts = [
            "1",
            "1.0",
            "1e0",
            "18446744073709551616",
            "18446744073709551617",
            "0.1",
            "0.1000000000000000055",
            "-0",
            "0",
            "[]",
            "{}",
            "[1,2]",
            "[2,1]",
            "[[1],2]",
            "[[1,2]]",
            r#""1""#,
            r#"["1,2"]"#,
            r#"{"a":1,"b":2}"#,
            r#"{"a":2,"b":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{},"b":1}"#,
            r#""\\""#,
            r#""\"""#,
            "null",
            r#""null""#,
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
            "{",
            "{]",
            "[1,]",
            "{\"a\"}",
            "01",
            "nul",
            "1 2",
            "\u{feff}1",
            "\"\u{1}\"",
            r#""\ud800""#,
            r#""\x""#,
        ] {
            assert_eq!(canonical(text), None, "{text:?}");
        }
        assert!(!append(b"\"\xff\"", &mut Vec::new()));
    }

    #[test]
    fn deep_nesting_overflows_nothing() {
        let nested = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(canonical(&nested(100)).is_some());
        assert_eq!(canonical(&nested(1_000_000)), None);
        let objects = format!("{}1{}", "{\"a\":".repeat(500_000), "}".repeat(500_000));
        assert_eq!(canonical(&objects), None);
        assert_eq!(canonical(&"[".repeat(1_000_000)), None);
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

    /// Another text of the same JSON: members the other way round, more space, every letter escaped.
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
            let mut respelled = String::new();
            respell(&value, &mut respelled);
            let plain = canonical(&value.to_string());
            prop_assert!(plain.is_some());
            prop_assert_eq!(&plain, &canonical(&respelled));
            prop_assert_eq!(&plain, &canonical(&serde_json::to_string_pretty(&value).unwrap()));
        }

        #[test]
        fn two_values_come_to_the_same_only_if_they_are(one in any_json(), other in any_json()) {
            let same = canonical(&one.to_string()) == canonical(&other.to_string());
            prop_assert_eq!(same, one == other);
        }

        #[test]
        fn any_text_is_read_without_a_panic(text: String) {
            canonical(&text);
            canonical(&format!("{{\"a\":[{text}]}}"));
        }
    }
}
