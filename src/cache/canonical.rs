//! One spelling for all texts of the same JSON.

use std::{borrow::Cow, ops::Range};

use memchr::memchr2;

/// As deep as `serde_json` goes. What is nested deeper is compared byte by byte.
const DEPTH: u32 = 128;

/// A place in a text, and what has been written of it.
struct Writer<'a> {
    text: &'a [u8],
    at: usize,
    out: &'a mut Vec<u8>,
    /// Of all objects that are open, the inner ones last.
    members: Vec<Member>,
    /// For what is put into another order.
    scratch: Vec<u8>,
}

/// Where a member of an object was written to.
#[derive(Debug, Clone)]
struct Member {
    key: Range<usize>,
    whole: Range<usize>,
}

/// Appends the canonical form of an object or array to `out`, and says whether `json` is one.
///
/// No white space, members sorted by their names, strings without escapes that are not needed. Numbers stay as they are
/// written: `1.0` is not `1`, and no digit is lost. An object with two members of one name has no such form: it means one thing to
/// this server, and another one to that.
///
/// It is less strict than a parser, which does no harm: texts that differ in more than their spelling come out different, whether
/// they are JSON or not.
pub(super) fn append(json: &[u8], out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut writer = Writer {
        text: json,
        at: 0,
        out,
        members: Vec::new(),
        scratch: Vec::new(),
    };
    let is_written = writer.document().is_some();
    if !is_written {
        out.truncate(start);
    }
    is_written
}

// ===== impl Writer =====

impl Writer<'_> {
    fn document(&mut self) -> Option<()> {
        if !matches!(self.peek()?, b'{' | b'[') {
            return None;
        }
        self.value(DEPTH)?;
        self.peek().is_none().then_some(())
    }

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
        loop {
            let byte = *self.text.get(self.at)?;
            if !is_space(byte) {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Steps over this byte, if it is next.
    fn take(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.at += usize::from(is_next);
        is_next
    }

    fn object(&mut self, depth: u32) -> Option<()> {
        self.at += 1;
        self.out.push(b'{');
        let first = self.members.len();
        if !self.take(b'}') {
            loop {
                let member = self.member(depth)?;
                self.members.push(member);
                if !self.take(b',') {
                    break;
                }
            }
            self.take(b'}').then_some(())?;
        }
        self.sort(first)?;
        self.members.truncate(first);
        self.out.push(b'}');
        Some(())
    }

    fn member(&mut self, depth: u32) -> Option<Member> {
        let start = self.out.len();
        (self.peek()? == b'"').then_some(())?;
        self.string()?;
        let key = start..self.out.len();
        self.take(b':').then_some(())?;
        self.out.push(b':');
        self.value(depth)?;
        self.out.push(b',');
        let whole = start..self.out.len();
        Some(Member { key, whole })
    }

    fn array(&mut self, depth: u32) -> Option<()> {
        self.at += 1;
        self.out.push(b'[');
        if !self.take(b']') {
            loop {
                self.value(depth)?;
                self.out.push(b',');
                if !self.take(b',') {
                    break;
                }
            }
            self.take(b']').then_some(())?;
        }
        self.out.push(b']');
        Some(())
    }

    fn string(&mut self) -> Option<()> {
        let start = self.at;
        let mut escapes = false;
        self.at += 1;
        loop {
            let rest = self.text.get(self.at..)?;
            let next = memchr2(b'"', b'\\', rest)?;
            self.at += next + 1;
            if rest[next] == b'"' {
                break;
            }
            // Whatever was escaped.
            escapes = true;
            self.at += 1;
        }
        let literal = &self.text[start..self.at];
        if escapes {
            // Half of a surrogate pair is no text: the whole is compared byte by byte.
            let string: Cow<'_, str> = serde_json::from_slice(literal).ok()?;
            serde_json::to_writer(&mut *self.out, &string).ok()?;
        } else {
            self.out.extend_from_slice(literal);
        }
        Some(())
    }

    /// A number or a word.
    fn literal(&mut self) -> Option<()> {
        let rest = &self.text[self.at..];
        let is_part =
            |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().take_while(|byte| is_part(byte)).count();
        self.out.extend_from_slice(&rest[..length]);
        self.at += length;
        (length > 0).then_some(())
    }

    /// Puts the members from this one on in order, which were written last, if each has a name of its own.
    fn sort(&mut self, first: usize) -> Option<()> {
        let (out, members) = (&mut *self.out, &mut self.members[first..]);
        let key = |member: &Member| &out[member.key.clone()];
        if members.is_sorted_by(|a, b| key(a) < key(b)) {
            return Some(());
        }
        let start = members[0].whole.start;
        members.sort_unstable_by(|a, b| key(a).cmp(key(b)));
        if !members.is_sorted_by(|a, b| key(a) < key(b)) {
            return None;
        }
        self.scratch.clear();
        self.scratch.extend_from_slice(&out[start..]);
        out.truncate(start);
        for member in members {
            let whole = member.whole.start - start..member.whole.end - start;
            out.extend_from_slice(&self.scratch[whole]);
        }
        Some(())
    }
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
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
        assert!(
            seen.len() > 100 && same > 1_000,
            "{} and {same}",
            seen.len()
        );
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
