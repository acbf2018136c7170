//! A stream of events, all of it.

use super::report::Report;

/// Whether it tells no error, and its end, where those of its kind do. One that ends within a line was cut.
pub(super) fn is_sound(body: &[u8]) -> bool {
    let is_cut = ![&b"\n"[..], b"\r", b"[DONE]"]
        .iter()
        .any(|end| body.ends_with(end));
    let lines = body.split(|byte| matches!(byte, b'\n' | b'\r'));
    !is_cut
        && lines
            .map(read)
            .fold(Report::default(), Report::and)
            .is_sound()
}

fn read(line: &[u8]) -> Report {
    if let Some(event) = line.strip_prefix(b"event:") {
        let is_error = matches!(event.trim_ascii(), b"error" | b"response.failed");
        return Report {
            is_error,
            ..Report::default()
        };
    }
    match line.strip_prefix(b"data:").map(<[u8]>::trim_ascii) {
        Some(b"[DONE]") => Report {
            ends: true,
            ..Report::default()
        },
        // Data of several lines, or no JSON, says nothing.
        Some(data) => serde_json::from_slice(data).unwrap_or_default(),
        None => Report::default(),
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
