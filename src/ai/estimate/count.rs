//! Counts the content of a request that will be tokenized.

use crate::payload::json::Json;

/// The counts of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ContentCount {
    /// Bytes of ASCII text.
    pub(super) ascii: u64,
    /// Characters that are not ASCII.
    pub(super) other: u64,
    /// Tokens given as numbers.
    pub(super) tokens: u64,
    /// Images, audio and files.
    pub(super) media: u64,
    /// Prompts in an array: strings, or arrays of tokens.
    pub(super) prompts: u64,
}

/// How to read a part of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadMode {
    /// Messages: text counts, but neither member names nor labels; media count separately.
    Turns,
    /// A prompt, an array of them, or messages; an array may be of tokens.
    Prompt,
    /// Inside an array of prompts.
    Listed,
}

// ===== impl ContentCount =====

impl ContentCount {
    /// The deepest nesting. Each nested value is skipped once per level.
    const DEEPEST: u8 = 32;

    /// Adds a value. What is nested too deeply counts by its length.
    pub(super) fn read(&mut self, value: Json<'_>, reading: ReadMode) {
        self.value(value, reading, Self::DEEPEST);
    }

    /// Adds a value that the model sees as JSON, without whitespace.
    pub(super) fn json(&mut self, value: Json<'_>) {
        for token in value.tokens() {
            match token.as_str() {
                Some(text) => {
                    self.text(&text);
                    self.ascii += 2;
                }
                None => self.ascii += token.text().len() as u64,
            }
        }
    }

    fn value(&mut self, value: Json<'_>, reading: ReadMode, depth: u8) {
        let Some(depth) = depth.checked_sub(1) else {
            self.ascii += value.text().len() as u64;
            return;
        };
        let is_listed = reading == ReadMode::Listed;
        if let Some(text) = value.as_str() {
            self.prompts += u64::from(is_listed);
            if is_file(&text) {
                self.media += 1;
            } else {
                self.text(&text);
            }
        } else if value.is_number() {
            self.tokens += u64::from(is_listed);
        } else if value.is_array() {
            self.prompts += u64::from(is_listed);
            let inside = match reading {
                ReadMode::Turns => ReadMode::Turns,
                ReadMode::Prompt | ReadMode::Listed => ReadMode::Listed,
            };
            for element in value.elements() {
                self.value(element, inside, depth);
            }
        }
        for (name, value) in value.members() {
            self.member(&name.as_str().unwrap_or_default(), value, depth);
        }
    }

    fn member(&mut self, name: &str, value: Json<'_>, depth: u8) {
        match name {
            // Not part of the prompt.
            "type" | "role" | "id" | "call_id" | "tool_call_id" | "tool_use_id" | "status"
            | "detail" | "media_type" | "cache_control" | "signature" | "thoughtSignature"
            | "thought_signature" => {}
            // One image, recording or file, in any form.
            "image_url" | "input_audio" | "audio" | "audio_url" | "video_url" | "file"
            | "file_data" | "file_id" | "file_url" | "fileData" | "inlineData" | "inline_data" => {
                self.media += u64::from(value.text() != "null");
            }
            // The source of a document: by its type it is text or media.
            "source" if value.is_object() && !is_text(value) => self.media += 1,
            // The arguments or the result of a tool call.
            "input" | "args" | "response" => self.json(value),
            _ => self.value(value, ReadMode::Turns, depth),
        }
    }

    fn text(&mut self, text: &str) {
        let ascii = text.bytes().filter(u8::is_ascii).count();
        self.ascii += ascii as u64;
        self.other += (text.chars().count() - ascii) as u64;
    }
}

fn is_text(source: Json<'_>) -> bool {
    let kind = source.get("type");
    kind.is_some_and(|kind| kind.is("text") || kind.is("content"))
}

/// Returns `true` if a text is a base64 `data:` URL (RFC 2397), which counts as a file.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn count(reading: ReadMode, json: &str) -> ContentCount {
        let mut count = ContentCount::default();
        let value = Json::parse(json.as_bytes()).unwrap();
        count.read(value, reading);
        count
    }

    #[test]
    fn messages_count_text_and_media() {
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
                concat!(
                    r#"{"source": {"content": [{"source": {"type": "url"}}, {"text": "a"}], "#,
                    r#""type": "content"}}"#,
                ),
                1,
                0,
                1,
            ),
            // `data:` URLs in members of any name
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
            let expected = ContentCount {
                ascii,
                other,
                media,
                ..ContentCount::default()
            };
            assert_eq!(count(ReadMode::Turns, json), expected, "{json}");
        }
    }

    #[test]
    fn prompts_may_be_token_arrays() {
        // JSON, bytes, tokens, prompts
        let table = [
            (r#""abc""#, 3, 0, 0),
            (r#"["abc", "d"]"#, 4, 0, 2),
            ("[1, 2, 3]", 0, 3, 0),
            ("[[1, 2], [3]]", 0, 3, 2),
            ("[]", 0, 0, 0),
            ("5", 0, 0, 0),
            (r#"[{"role": "user", "content": ["abc", 1]}]"#, 3, 0, 0),
            ("[1e999]", 0, 1, 0),
        ];
        for (json, ascii, tokens, prompts) in table {
            let expected = ContentCount {
                ascii,
                tokens,
                prompts,
                ..ContentCount::default()
            };
            assert_eq!(count(ReadMode::Prompt, json), expected, "{json}");
        }
    }

    #[test]
    fn json_counts_without_whitespace() {
        let count = |json: &str| {
            let mut count = ContentCount::default();
            count.json(Json::parse(json.as_bytes()).unwrap());
            count
        };
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
            assert_eq!(count(json).ascii, json.len() as u64, "{json}");
        }
        assert_eq!(count("[ 1 , { \"a\" : 2 } ]").ascii, 11);
        assert_eq!(count("1.50").ascii, 4);
        assert_eq!(count(r#"{"é": "日本"}"#).other, 3);
        assert!(count("1e300").ascii < 10);
    }
}
