//! A stream of events, all of it.

use super::report::{self, Report};
use crate::events::{Events, Sink};

const DONE: &[u8] = b"[DONE]";

/// Whether it is one, whatever it is called.
pub(super) fn is_one(body: &[u8]) -> bool {
    body.starts_with(b"data:") || body.starts_with(b"event:")
}

/// Whether something is in it, no error, and its end, where those of its kind have one. One that ends within a line was cut.
pub(super) fn is_sound(body: &[u8]) -> bool {
    let is_cut = ![&b"\n"[..], b"\r", DONE]
        .iter()
        .any(|end| body.ends_with(end));
    let mut events = Events::new();
    let mut seen = Seen::default();
    let mut rest = body;
    while !rest.is_empty() {
        rest = events.feed_line(rest, &mut seen);
    }
    // Some servers leave out the empty line behind the last one.
    seen.end();
    !is_cut && seen.all.is_some_and(Report::is_sound)
}

/// What the events say, once there was one with data, or an error.
#[derive(Default)]
struct Seen {
    all: Option<Report>,
    /// Of the event at hand.
    name: Vec<u8>,
    data: Vec<u8>,
}

// ===== impl Seen =====

impl Seen {
    fn add(&mut self, report: Report) {
        self.all = Some(report.and(self.all.unwrap_or_default()));
    }
}

impl Sink for Seen {
    fn data(&mut self, bytes: &[u8]) {
        self.data.extend_from_slice(bytes);
    }

    fn rename(&mut self) {
        self.name.clear();
    }

    fn name(&mut self, bytes: &[u8]) {
        self.name.extend_from_slice(bytes);
    }

    fn end(&mut self) {
        let is_error = matches!(self.name.trim_ascii(), b"error" | b"response.failed");
        let data = self.data.trim_ascii();
        let json = data.strip_suffix(DONE);
        let report = Report {
            is_error,
            ends: json.is_some(),
            ..Report::default()
        };
        // What is no JSON says nothing.
        let read = report::read(json.unwrap_or(data)).ok().flatten();
        if is_error || !data.is_empty() {
            self.add(report.and(read.unwrap_or_default()));
        }
        self.name.clear();
        self.data.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_in_a_stream_of_events_is_found_and_so_is_a_cut() {
        for (body, expected) in [
            ("data: {\"a\":1}\n\ndata: [DONE]\n\n", true),
            ("data: [DONE]", true),
            ("data: {\"a\":1}\n\n", true),
            ("data: {\"a\":1}\n\ndata: {\"a", false),
            ("data: {\"a\":1}\n\ndata: {\"error\":{}}\n\n", false),
            ("data: {\"a\":1,\"error\":{}}\n\ndata: [DONE]\n\n", false),
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
