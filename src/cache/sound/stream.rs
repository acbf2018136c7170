//! Checks a complete stream of events.

use std::mem;

use super::report::Report;
use crate::payload::sse::{Events, Sink};

const DONE: &[u8] = b"[DONE]";

/// Returns whether a body is a stream of events, whatever its `Content-Type`: its first data are
/// JSON or belong to a named event. Prose and a `data:` URL may begin the same way.
pub(super) fn is_one(body: &[u8]) -> bool {
    let mut is_named = false;
    for line in body.split(|byte| matches!(byte, b'\n' | b'\r')) {
        if let Some(data) = line.strip_prefix(b"data:") {
            return is_named || matches!(data.trim_ascii_start().first(), Some(b'{' | b'['));
        }
        is_named |= line.starts_with(b"event:");
        let others = [&b"event:"[..], b":", b"id:", b"retry:"];
        if !line.is_empty() && !others.iter().any(|other| line.starts_with(other)) {
            return false;
        }
    }
    false
}

/// Returns whether a stream has content, no error, and an end, if streams of its format have one. A
/// stream that ends within a line is truncated.
pub(super) fn is_sound(body: &[u8]) -> bool {
    let is_cut = !(body.ends_with(b"\n") || body.ends_with(b"\r") || body.ends_with(DONE));
    let mut events = Events::default();
    let mut report = Report::default();
    let mut rest = body;
    while !rest.is_empty() {
        rest = events.feed_line(rest, &mut report);
    }
    // Some servers leave out the empty line behind the last one.
    report.end();
    report.has_content && !(is_cut || report.is_error || report.is_cut())
}

/// Reads the events.
impl Sink for Report {
    fn data(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    fn rename(&mut self) {
        // Some servers leave out the empty line between two events.
        if !self.data.is_empty() {
            self.end();
        }
        self.name.clear();
    }

    fn name(&mut self, bytes: &[u8]) {
        self.name.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        let (name, data) = (mem::take(&mut self.name), mem::take(&mut self.data));
        let (name, data) = (name.trim_ascii(), data.trim_ascii());
        let json = data.strip_suffix(DONE);
        self.is_error |= matches!(name, b"error" | b"response.failed");
        self.ends |= json.is_some();
        let json = json.unwrap_or(data).trim_ascii();
        let is_ping = matches!(name, b"ping" | b"keepalive");
        if !is_ping && !self.add(json) {
            // Plain text, or JSON in which an error may hide.
            self.has_content = true;
            self.is_error |= json.starts_with(b"{");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_and_truncation_of_event_streams() {
        for (body, expected) in [
            ("data: {\"a\":1}\n\ndata: [DONE]\n\n", true),
            ("data: 1\n\ndata: [DONE]", true),
            ("data: [DONE]\n\n", false),
            ("event: ping\ndata: {\"type\": \"ping\"}\n\n", false),
            ("data: {\"type\": \"keepalive\"}\n\n", false),
            (
                "data: {\"type\": \"ping\"}\ndata: {\"type\": \"x\"}\n",
                true,
            ),
            ("event: error\ndata: {}\nevent: done\ndata: {}\n\n", false),
            ("data: {\"error\": 1}\ndata: closed\n\n", false),
            ("data: {\"a\":1}\n\n", true),
            ("data: {\"a\":1}\n\ndata: {\"a", false),
            ("data: {\"a\":1}\n\ndata: {\"error\":{}}\n\n", true),
            ("data: {\"a\":1,\"error\":{}}\n\ndata: [DONE]\n\n", true),
            ("event: error\ndata: {}\n\n", false),
            ("event:error\r\ndata:{}\r\n\r\n", false),
            ("event: message\rdata: {\"type\":\"error\"}\r\r", false),
            ("data: the error\n\n", true),
            ("event: errors\ndata: 1\n\n", true),
            (": alive\n\nevent: ping\n\n", false),
            ("data: {\ndata: \"error\": 1}\n\n", false),
            ("data: {\r\ndata: \"error\": 1}\r\n\r\n", false),
            ("data: {\rdata: \"error\": 1}\r\r", false),
            ("data: {\"a\": 1}\ndata: {\"error\": 1}\n", false),
            ("{\"error\": 1}\n", false),
        ] {
            assert_eq!(is_sound(body.as_bytes()), expected, "{body:?}");
        }
    }

    #[test]
    fn a_stream_of_a_known_kind_has_an_end() {
        for (begin, ends) in [
            (
                r#"{"id":"1","object":"chat.completion.chunk","choices":[]}"#,
                &["[DONE]"][..],
            ),
            (r#"{"object":"text_completion","choices":[]}"#, &["[DONE]"]),
            (
                r#"{"type":"message-start"}"#,
                &[r#"{"type":"message-end"}"#],
            ),
            (
                r#"{"type":"message_start"}"#,
                &[r#"{"type":"message_stop"}"#],
            ),
            (
                r#"{"type":"response.created"}"#,
                &[
                    r#"{"type":"response.completed"}"#,
                    r#"{"type":"response.incomplete"}"#,
                ],
            ),
            (
                r#"{"candidates":[{"content":{}}]}"#,
                &[r#"{"candidates":[{"finishReason":"STOP"}]}"#],
            ),
        ] {
            let cut = format!("data: {begin}\n\ndata: {{\"type\":\"ping\"}}\n\n");
            assert!(!is_sound(cut.as_bytes()), "{cut}");
            for end in ends {
                let whole = format!("{cut}data: {end}\n\n");
                assert!(is_sound(whole.as_bytes()), "{whole}");
            }
        }
    }
}
