//! Checks whether a complete response with a success status is usable.

mod report;
mod stream;

use http::HeaderMap;

use self::report::Report;
use crate::{
    http::headers::encoding::{is_compressed, type_says},
    payload::{in_band::error_in, json, json::Json, sse::BYTE_ORDER_MARK},
};

/// Starts each text of a JSON sequence.
const RECORD_SEPARATOR: u8 = 0x1e;

/// Returns `false` if the body reports an error or is truncated without an error of the connection.
/// A body may be truncated if it ends with the connection, or if a provider failed before or
/// between two events. Do not call this for a response that must not have a body.
pub(super) fn is_sound(headers: &HeaderMap, body: &[u8]) -> bool {
    if is_compressed(headers) {
        // A compressed body is only checked for being empty.
        return !body.is_empty();
    }
    let body = body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body);
    let says = |word: &[u8]| type_says(headers, word);
    if says(b"text/event-stream") {
        return stream::is_sound(body);
    }
    let mut report = Report::default();
    let mut texts = body.split(|byte| *byte == RECORD_SEPARATOR);
    if !texts.all(|texts| report.add(texts)) {
        let is_error = error_in(Json::lenient(&json::text(body))).is_some();
        let is_text = !is_error && !says(b"json");
        return is_text && (!stream::is_one(body) || stream::is_sound(body));
    }
    let is_cut = says(b"ndjson") && report.is_cut();
    let is_empty = says(b"json") && !report.has_content;
    !(report.is_error || is_cut || is_empty)
}

#[cfg(test)]
mod tests {
    use http::{
        HeaderValue,
        header::{CONTENT_ENCODING, CONTENT_TYPE},
    };

    use super::*;

    fn is_good(media_type: &'static str, body: &str) -> bool {
        let mut headers = HeaderMap::new();
        if !media_type.is_empty() {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
        }
        is_sound(&headers, body.as_bytes())
    }

    #[test]
    fn an_error_under_a_good_status_is_found() {
        for (body, expected) in [
            ("{}", true),
            (r#"{"error": {"message": "x"}}"#, false),
            (" {\n \"error\" : \"x\"}", false),
            (r#"{"error": null, "id": 1}"#, true),
            (r#"{"error": false, "id": 1}"#, true),
            (r#"{"error": "", "id": 1}"#, true),
            (r#"{"id": 1, "error": 0}"#, false),
            (r#"{"type":"error","error":{}}"#, false),
            (r#"{"request_id":"r","type":"error"}"#, false),
            (r#"{"type":"message"}"#, true),
            (r#"{"text": "{\"error\": 1}"}"#, true),
            (r#"{"steps": [{"error": 1}]}"#, true),
            (r#"["error", 1, 1.5, -1, null, true]"#, true),
            (r#"[{"candidates": []}, {"error": {"code": 503}}]"#, false),
            ("{\"done\": false}\n{\"error\": \"x\"}\n", false),
            ("{\"done\": false}\n{\"done\": true}\n", true),
            ("\u{1e}{\"done\": false}\n\u{1e}{\"error\": \"x\"}\n", false),
        ] {
            for media_type in ["", "application/json", "application/x-ndjson"] {
                assert_eq!(is_good(media_type, body), expected, "{body}");
            }
        }
    }

    #[test]
    fn only_a_known_end_is_good() {
        for (body, expected) in [
            (r#"{"choices":[{"finish_reason":"stop"}]}"#, true),
            (r#"{"choices":[{"finish_reason":"network_error"}]}"#, false),
            (r#"{"choices":[{"finish_reason":"abort"}]}"#, false),
            (r#"{"stop_reason":"end_turn"}"#, true),
            (r#"{"stop_reason":"unheard_of"}"#, false),
            (r#"{"base_resp":{"status_code":0}}"#, true),
            (r#"{"base_resp":{"status_code":1008}}"#, false),
            (r#"{"success":true}"#, true),
            (r#"{"success":false}"#, false),
            (r#"{"object":"response","status":"failed"}"#, false),
        ] {
            let event = format!("data: {body}\n\ndata: [DONE]\n\n");
            assert_eq!(is_good("text/event-stream", &event), expected, "{body}");
            for media_type in ["", "application/json"] {
                assert_eq!(is_good(media_type, body), expected, "{body}");
            }
        }
    }

    #[test]
    fn malformed_json_hides_no_error() {
        for body in [
            &b"{\"error\":{\"message\":\"\xff\"}}"[..],
            b"{\"error\":{\"message\":\"\\ud83d\"}}",
            b"{\"error\":{\"code\":NaN}}",
            b"{\"error\":{\"code\":1}} more",
            b"{\"error\":{\"message\":\"cut",
        ] {
            let event = [b"data: ", body, b"\n\ndata: {}\n\n"].concat();
            for (media_type, body) in [
                ("text/plain", body),
                ("application/json", body),
                ("text/event-stream", &event),
                ("text/plain", &event),
            ] {
                let mut headers = HeaderMap::new();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
                assert!(
                    !is_sound(&headers, body),
                    "{}",
                    String::from_utf8_lossy(body)
                );
            }
        }
    }

    #[test]
    fn what_is_cut_is_found_where_it_says_what_it_is() {
        for body in ["{", "{\"a\": [1]", "[1, ", "{\"a\": 1}\n{\"b\"", "nul"] {
            assert!(!is_good("application/json", body), "{body}");
            assert!(is_good("text/plain", body), "{body}");
            assert!(is_good("", body), "{body}");
        }
        for body in ["", "\n\n", "\u{feff}"] {
            assert!(!is_good("application/json", body), "{body:?}");
            assert!(!is_good("text/event-stream", body), "{body:?}");
            assert!(is_good("text/plain", body), "{body:?}");
        }
    }

    #[test]
    fn lines_of_json_have_an_end_where_they_say_so() {
        let begun = "{\"done\": false}\n{\"done\": false}\n";
        assert!(!is_good("application/x-ndjson", begun));
        let whole = format!("{begun}{{\"done\": true}}\n");
        assert!(is_good("application/x-ndjson", &whole));
        assert!(is_good("application/json", "{\"done\": false}"));
    }

    #[test]
    fn what_cannot_be_read_is_left_alone() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(is_sound(&headers, b"\x1f\x8b\x08"));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("identity"));
        assert!(!is_sound(&headers, b"{\"error\": 1}"));
        assert!(!is_good("application/json", &"[".repeat(1_000_000)));
    }
}
