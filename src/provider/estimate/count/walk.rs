//! Reads a part of a request, and counts.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::{Count, member::Member};
use crate::provider::plain::{Look, NUMBER, Plain};

/// How a part of a request is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// What was said: text counts, but neither the names of members nor those that only label; media are told apart.
    Turns,
    /// One prompt, a list of them, or what was said; a list may be of tokens.
    Prompt,
    /// Inside a list of prompts.
    Listed,
    /// Where a document comes from, which tells by its type whether it is text.
    Source,
    /// What the model sees as JSON: all of it counts, as if it were written without spaces.
    Json,
}

/// Reads any value in one way, and counts.
pub(crate) struct Walk<'a> {
    pub(super) count: &'a mut Count,
    pub(super) reading: Reading,
}

// ===== impl Walk =====

impl Walk<'_> {
    fn number(self, number: impl fmt::Debug) {
        match self.reading {
            Reading::Listed => self.count.tokens += 1,
            Reading::Json => self.count.number(number),
            Reading::Turns | Reading::Prompt | Reading::Source => {}
        }
    }

    fn constant(self, written: &str) {
        if self.reading == Reading::Json {
            self.count.text(written);
        }
    }

    fn member<'de, A: MapAccess<'de>>(
        &mut self,
        member: &Member,
        map: &mut A,
    ) -> Result<(), A::Error> {
        match member {
            Member::Said => map.next_value_seed(self.count.walk(Reading::Turns)),
            Member::Label => map.next_value::<IgnoredAny>().map(drop),
            Member::Media => {
                let given = map.next_value::<Option<IgnoredAny>>()?;
                self.count.media += u64::from(given.is_some());
                Ok(())
            }
            Member::Source => map.next_value_seed(self.count.walk(Reading::Source)),
            Member::Json => map.next_value_seed(self.count.walk(Reading::Json)),
            Member::Number => {
                let count = self.count.walk(self.reading);
                map.next_value_seed(Look(|_: Plain<'_>| count.number(())))
            }
        }
    }

    fn json<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut members = 0_u64;
        let count = self.count;
        loop {
            let key = map.next_key_seed(Look(|key: Plain<'_>| match key {
                Plain::Text(NUMBER) => true,
                Plain::Text(key) => {
                    count.text(key);
                    false
                }
                _ => false,
            }))?;
            match key {
                None => break,
                Some(true) => {
                    return map.next_value_seed(Look(|number: Plain<'_>| {
                        if let Plain::Text(number) = number {
                            count.text(number);
                        }
                    }));
                }
                Some(false) => map.next_value_seed(count.walk(Reading::Json))?,
            }
            members += 1;
        }
        // Braces; and for each member two quotes, a colon, and a comma, but for the last.
        count.ascii += 2 + (4 * members).saturating_sub(1);
        Ok(())
    }

    fn source<'de, A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut is_text = false;
        // The type may come after what it is the type of.
        let mut inside = Count::default();
        let of = |key: Plain<'_>| match key {
            Plain::Text("type") => Some(true),
            Plain::Text("data" | "content") => Some(false),
            _ => None,
        };
        while let Some(member) = map.next_key_seed(Look(of))? {
            match member {
                Some(true) => {
                    is_text = map.next_value_seed(Look(|kind: Plain<'_>| {
                        matches!(kind, Plain::Text("text" | "content"))
                    }))?;
                }
                Some(false) => map.next_value_seed(inside.walk(Reading::Turns))?,
                None => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        if is_text {
            self.count.add(inside);
        } else {
            self.count.media += 1;
        }
        Ok(())
    }
}

/// Whether a text is a link that has the file itself in it (RFC 2397), which no model reads as text.
fn is_file(text: &str) -> bool {
    /// No media type is longer.
    const LONGEST: usize = 256;
    let Some((b"data:" | b"DATA:", rest)) = text.as_bytes().split_first_chunk::<5>() else {
        return false;
    };
    let end = rest.iter().take(LONGEST).position(|byte| *byte == b',');
    let head = &rest[..end.unwrap_or(0)];
    head.ends_with(b";base64") && !head.contains(&b' ')
}

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.constant("null");
        Ok(())
    }

    fn visit_bool<E>(self, bool: bool) -> Result<(), E> {
        self.constant(if bool { "true" } else { "false" });
        Ok(())
    }

    fn visit_u64<E>(self, number: u64) -> Result<(), E> {
        self.number(number);
        Ok(())
    }

    fn visit_i64<E>(self, number: i64) -> Result<(), E> {
        self.number(number);
        Ok(())
    }

    fn visit_f64<E>(self, number: f64) -> Result<(), E> {
        self.number(number);
        Ok(())
    }

    fn visit_str<E>(self, text: &str) -> Result<(), E> {
        if self.reading != Reading::Json && is_file(text) {
            self.count.media += 1;
        } else {
            self.count.text(text);
        }
        match self.reading {
            Reading::Json => self.count.ascii += 2,
            Reading::Listed => self.count.prompts += 1,
            Reading::Turns | Reading::Prompt | Reading::Source => {}
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let inside = match self.reading {
            Reading::Prompt | Reading::Listed => Reading::Listed,
            Reading::Turns | Reading::Source => Reading::Turns,
            Reading::Json => Reading::Json,
        };
        self.count.prompts += u64::from(self.reading == Reading::Listed);
        let mut elements = 0_u64;
        while let Some(()) = seq.next_element_seed(self.count.walk(inside))? {
            elements += 1;
        }
        if self.reading == Reading::Json {
            // Brackets, and commas between.
            self.count.ascii += 2 + elements.saturating_sub(1);
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        match self.reading {
            Reading::Json => return self.json(map),
            Reading::Source => return self.source(map),
            Reading::Turns | Reading::Prompt | Reading::Listed => {}
        }
        while let Some(member) = map.next_key_seed(Look(Member::of))? {
            self.member(&member, &mut map)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(reading: Reading, json: &str) -> Count {
        let mut count = Count::default();
        let mut deserializer = serde_json::Deserializer::from_str(json);
        count
            .walk(reading)
            .deserialize(&mut deserializer)
            .unwrap_or_else(|error| panic!("{json}: {error}"));
        deserializer.end().unwrap();
        count
    }

    #[test]
    fn in_turns_what_is_said_counts_and_media_are_told_apart() {
        // JSON, bytes of ASCII, other characters, media
        let table = [
            (r#""hello""#, 5, 0, 0),
            (r#""h\u00e9llo \ud83d\ude00\n""#, 6, 2, 0),
            (r#""日本""#, 0, 2, 0),
            ("null", 0, 0, 0),
            ("[1, true, null, -1.5]", 0, 0, 0),
            (r#"[{"role": "user", "content": "abc"}]"#, 3, 0, 0),
            (r#"{"parts": [{"text": "ab"}, {"text": "c"}]}"#, 3, 0, 0),
            (r#"{"tool_call_id": "call_1", "content": "abc"}"#, 3, 0, 0),
            (
                r#"{"thinking": "abc", "signature": "RXJ5dGhpbmc="}"#,
                3,
                0,
                0,
            ),
            (
                r#"{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}"#,
                0,
                0,
                1,
            ),
            (
                r#"{"type": "input_image", "image_url": "data:image/png;base64,AAAA"}"#,
                0,
                0,
                1,
            ),
            (
                r#"{"type": "input_image", "image_url": null, "file_id": "f"}"#,
                0,
                0,
                1,
            ),
            (
                r#"{"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}}"#,
                0,
                0,
                1,
            ),
            (
                r#"{"type": "file", "file": {"file_data": "AAAA", "filename": "a.pdf"}}"#,
                0,
                0,
                1,
            ),
            (
                r#"{"inlineData": {"mimeType": "image/png", "data": "AAAA"}}"#,
                0,
                0,
                1,
            ),
            (
                r#"{"inline_data": {"mime_type": "image/png", "data": "AAAA"}}"#,
                0,
                0,
                1,
            ),
            (
                r#"{"fileData": {"fileUri": "https://example.com"}}"#,
                0,
                0,
                1,
            ),
            (
                r#"{"source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}}"#,
                0,
                0,
                1,
            ),
            (
                r#"{"source": {"data": "abc", "media_type": "text/plain", "type": "text"}}"#,
                3,
                0,
                0,
            ),
            (
                r#"{"source": {"type": "content", "content": [{"type": "text", "text": "abc"}]}}"#,
                3,
                0,
                0,
            ),
            (
                r#"{"source": {"content": [{"source": {"type": "url"}}, {"text": "a"}], "type": "content"}}"#,
                1,
                0,
                1,
            ),
            // Links of any name that have the file in them
            (
                r#"{"type": "document_url", "document_url": "data:application/pdf;base64,AAAA"}"#,
                0,
                0,
                1,
            ),
            (
                r#"[{"type": "image", "url": "DATA:image/png;a=b;base64,AAAA"}]"#,
                0,
                0,
                1,
            ),
            (r#"{"text": "data:image/png,AAAA"}"#, 19, 0, 0),
            (r#"{"text": "data: a;base64,b"}"#, 16, 0, 0),
            (r#"{"text": "say data:a/b;base64,A"}"#, 21, 0, 0),
            (r#"{"input": "data:a/b;base64,A"}"#, 19, 0, 0),
            (r#"{"source": "https://a.b"}"#, 11, 0, 0),
            (r#"{"source": ["abc", 1]}"#, 3, 0, 0),
            (r#"{"source": null}"#, 0, 0, 0),
            (r#"{"source": {}}"#, 0, 0, 1),
            (
                r#"{"type": "tool_use", "name": "add", "input": {"a": [1, 2.5]}}"#,
                3 + 13,
                0,
                0,
            ),
            (
                r#"{"functionCall": {"name": "add", "args": {}}}"#,
                3 + 2,
                0,
                0,
            ),
        ];
        for (json, ascii, other, media) in table {
            let expected = Count {
                ascii,
                other,
                media,
                ..Count::default()
            };
            assert_eq!(count(Reading::Turns, json), expected, "{json}");
        }
    }

    #[test]
    fn in_a_prompt_a_list_may_be_of_tokens() {
        // JSON, bytes, tokens, prompts
        let table = [
            (r#""abc""#, 3, 0, 0),
            (r#"["abc", "d"]"#, 4, 0, 2),
            ("[1, 2, 3]", 0, 3, 0),
            ("[[1, 2], [3]]", 0, 3, 2),
            ("[]", 0, 0, 0),
            ("5", 0, 0, 0),
            (r#"[{"role": "user", "content": ["abc", 1]}]"#, 3, 0, 0),
            (r#"[{"$serde_json::private::Number": "7"}]"#, 0, 1, 0),
        ];
        for (json, ascii, tokens, prompts) in table {
            let expected = Count {
                ascii,
                tokens,
                prompts,
                ..Count::default()
            };
            assert_eq!(count(Reading::Prompt, json), expected, "{json}");
        }
    }

    #[test]
    fn json_counts_as_long_as_it_is_without_spaces() {
        for json in [
            "null",
            "true",
            "false",
            "0",
            "-12",
            "2.5",
            "\"\"",
            "\"abc\"",
            "[]",
            "[1]",
            "[1,[2,3],{}]",
            "{\"a\":1}",
            "{\"a\":{\"b\":[null]},\"type\":\"object\"}",
        ] {
            assert_eq!(
                count(Reading::Json, json).ascii,
                json.len() as u64,
                "{json}"
            );
        }
        let count = |json| count(Reading::Json, json);
        assert_eq!(count("[ 1 , { \"a\" : 2 } ]").ascii, 11);
        assert_eq!(
            count(r#"{"$serde_json::private::Number": "1.50"}"#).ascii,
            4
        );
        assert_eq!(count(r#"{"é": "日本"}"#).other, 3);
        assert!(count("1e300").ascii < 10);
    }
}
