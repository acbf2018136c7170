//! Tells the bytes that keep a connection alive from the content of a body.

use bytes::Buf;
use http::{HeaderMap, header::CONTENT_ENCODING};

use crate::http::{headers::encoding::media_type, peek_body::each_slice};

/// The beginnings of lines without content in an event stream, without spaces: comments, fields of
/// the protocol, and the pings of providers.
static SILENT: [&[u8]; 7] = [
    b":",
    b"id:",
    b"retry:",
    b"event:ping",
    b"event:keepalive",
    b"data:{\"type\":\"ping\"",
    b"data:{\"type\":\"keepalive\"",
];

/// The state before the first byte of a line.
const BLANK: LineState = LineState::Beginning(b"");

/// Finds the bytes of a body that are no content: blank lines before it, and in an event stream
/// comments and pings. By default, all bytes are content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct KeepAlives {
    line: LineState,
    /// Content ends with its line. Otherwise all that follows it is content.
    has_lines: bool,
    /// Lines of [`SILENT`] are no content.
    is_stream: bool,
}

/// The state within the current line.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum LineState {
    /// What was read of the line, without spaces, is the beginning of a member of [`SILENT`].
    Beginning(&'static [u8]),
    Silent,
    #[default]
    Content,
}

// ===== impl KeepAlives =====

impl KeepAlives {
    /// Returns the reader of a body with these headers. In a compressed body, and in other types,
    /// all bytes are content.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        if headers.contains_key(CONTENT_ENCODING) {
            return Self::default();
        }
        let is_stream = is_event_stream(headers);
        let has_lines = is_stream || is_of_type(headers, "application/x-ndjson");
        let begins_blank = has_lines || is_of_type(headers, "application/json");
        Self {
            line: if begins_blank {
                BLANK
            } else {
                LineState::Content
            },
            has_lines,
            is_stream,
        }
    }

    /// Reads the next frame's data, and returns whether there is content in it.
    pub(crate) fn is_content(&mut self, data: &impl Buf) -> bool {
        if *self == Self::default() {
            return data.has_remaining();
        }
        let mut has_content = false;
        let look = |slice: &[u8]| has_content |= self.has_content(slice);
        let is_read = each_slice(data, usize::MAX, look);
        has_content || !is_read
    }

    fn has_content(&mut self, bytes: &[u8]) -> bool {
        let mut has_content = false;
        for &byte in bytes {
            self.line = match self.line {
                _ if self.has_lines && matches!(byte, b'\n' | b'\r') => BLANK,
                LineState::Beginning(read) if !byte.is_ascii_whitespace() => self.begin(read, byte),
                line => line,
            };
            has_content |= self.line == LineState::Content;
        }
        has_content
    }

    /// Reads the next byte of a line that may be silent.
    fn begin(self, read: &[u8], byte: u8) -> LineState {
        let goes_on = |line: &&&[u8]| line.starts_with(read) && line.get(read.len()) == Some(&byte);
        match SILENT.iter().find(goes_on) {
            Some(line) if self.is_stream => match line.len() - read.len() {
                1 => LineState::Silent,
                _ => LineState::Beginning(&line[..=read.len()]),
            },
            _ => LineState::Content,
        }
    }
}

pub(crate) fn is_event_stream(headers: &HeaderMap) -> bool {
    is_of_type(headers, "text/event-stream")
}

fn is_of_type(headers: &HeaderMap, name: &str) -> bool {
    media_type(headers).is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderValue, header::CONTENT_TYPE};

    use super::*;

    fn of(content_type: &'static str) -> KeepAlives {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        KeepAlives::of(&headers)
    }

    #[test]
    fn keep_alives_are_no_content() {
        for (text, expected) in [
            ("", false),
            ("\n\r\n", false),
            (": keep-alive\n\n", false),
            (":\n\n", false),
            ("event: ping\ndata: {\"type\": \"ping\"}\n\n", false),
            ("event:ping\r\ndata:{\"type\":\"ping\"}\r\n\r\n", false),
            (
                "data: {\"type\":\"keepalive\",\"sequence_number\":3}\n\n",
                false,
            ),
            ("retry: 3000\nid: 7\n\n", false),
            ("data:\n\n", false),
            ("data: {\"type\":\"text\"}\n\n", true),
            ("data: Hi\n\n", true),
            ("data: [DONE]\n\n", true),
            ("event: error\n", true),
            (": keep-alive\n\ndata: Hi\n\n", true),
            ("data: Hi\n\n: keep-alive\n\n", true),
            ("unknown", true),
        ] {
            let mut whole = of("text/event-stream; charset=utf-8");
            assert_eq!(whole.has_content(text.as_bytes()), expected, "{text:?}");
            let mut split = of("Text/Event-Stream");
            let bytes = text.as_bytes().chunks(1);
            let found = bytes.filter(|byte| split.has_content(byte)).count() > 0;
            assert_eq!(found, expected, "{text:?}");
            assert_eq!(whole, split);
        }
    }

    #[test]
    fn data_in_several_parts() {
        let mut events = of("text/event-stream");
        let silent = Bytes::from(": keep").chain(Bytes::from("-alive\n"));
        assert!(!events.is_content(&silent));
        let content = Bytes::from("da").chain(Bytes::from("ta: Hi\n"));
        assert!(events.is_content(&content));
    }

    #[test]
    fn the_rest_of_a_line_of_content_is_content() {
        let mut events = of("text/event-stream");
        assert!(events.has_content(b"data: Once"));
        assert!(events.has_content(b" upon"));
        assert!(!events.has_content(b"\n\n"));
        assert!(!events.has_content(b": keep"));
        assert!(!events.has_content(b"-alive\n"));
    }

    #[test]
    fn other_types() {
        let is_content =
            |keep_alives: &mut KeepAlives, text| keep_alives.is_content(&Bytes::from(text));
        let mut json = of("application/json");
        assert!(!is_content(&mut json, "\n \r\n"));
        assert!(is_content(&mut json, "{"));
        assert!(is_content(&mut json, "\n"));
        let mut lines = of("application/x-ndjson");
        for (text, expected) in [("\n", false), ("{}\n", true), ("\n", false), (":", true)] {
            assert_eq!(is_content(&mut lines, text), expected, "{text:?}");
        }
        assert!(is_content(&mut of("text/plain"), "\n"));
        assert!(is_content(&mut KeepAlives::default(), "\n"));
        assert!(!is_content(&mut KeepAlives::default(), ""));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(is_content(&mut KeepAlives::of(&headers), "\n"));
    }
}
