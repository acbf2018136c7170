//! Requests the usage at the end of a streamed chat completion.

use crate::{
    http::{PeekBody, ReplaceBody, RequestHead},
    payload::json::Json,
};

/// Requests the usage at the end of a streamed response, for APIs that omit it by default.
///
/// These are OpenAI's chat completions and compatible APIs. A request with `"stream": true` and
/// `messages` gets `"stream_options": {"include_usage": true}`. Its response then has one more
/// event before the last, with the usage and without choices. Without it the usage of such a
/// request stays unknown, and the estimate counts. If tokens count at admission, as with OpenAI
/// itself, the estimate counts in any case.
///
/// ```
/// use http::Request;
/// use tower::{ServiceBuilder, service_fn};
/// use tower_throttle::{BoxError, provider};
///
/// # let client = service_fn(async |request: Request<String>| Ok::<_, BoxError>(request));
/// let client = ServiceBuilder::new()
///     .map_request(provider::include_usage::<Request<String>>)
///     .service(client);
/// # let _ = client;
///
/// let request = Request::new(String::from(r#"{"stream": true, "messages": []}"#));
/// assert_eq!(
///     provider::include_usage(request).body(),
///     r#"{"stream_options":{"include_usage":true},"stream": true, "messages": []}"#,
/// );
/// ```
///
/// No other byte of the body changes; `Content-Length` is updated. A request is not changed if
///
/// - it sets `include_usage` itself, or its `stream_options` is no object,
/// - it is not for this API: it has no `messages`, has the header `anthropic-version` or the member
///   `anthropic_version`, or its path ends in `/messages`,
/// - it has no `"stream": true`,
/// - its body can't be [peeked](PeekBody), is not JSON, or has one of these members twice,
/// - its body can't be [replaced](ReplaceBody).
#[must_use]
pub fn include_usage<Request>(mut request: Request) -> Request
where
    Request: RequestHead + PeekBody + ReplaceBody,
{
    let is_anthropic = request.headers().contains_key("anthropic-version")
        || request.path().trim_end_matches('/').ends_with("/messages");
    if !is_anthropic {
        if let Some(body) = request.peek(with_usage).flatten() {
            // If the body can't be replaced, the request is sent unchanged.
            let _ = request.replace_body(body.into());
        }
    }
    request
}

/// Returns the body that requests the usage; `None` if it does already or should not.
fn with_usage(body: &[u8]) -> Option<Vec<u8>> {
    let request = Json::parse(body)?;
    // Parsers differ in which duplicate member counts.
    let only = |name| match request.all(name).collect::<Vec<_>>()[..] {
        [] => Some(None),
        [value] => Some(Some(value)),
        _ => None,
    };
    // Anthropic's API on another cloud.
    let is_anthropic = request.get("anthropic_version").is_some();
    let has_messages = request.get("messages").is_some();
    if is_anthropic || !has_messages || only("stream")??.text() != "true" {
        return None;
    }
    const NAME: &str = "include_usage";
    match only("stream_options")? {
        None => request.with_member(body, "stream_options", "{\"include_usage\":true}"),
        Some(options) if options.text() == "null" => {
            options.replaced(body, "{\"include_usage\":true}")
        }
        Some(options) if options.get(NAME).is_some() => None,
        Some(options) => options.with_member(body, NAME, "true"),
    }
}

#[cfg(test)]
mod tests {
    use http::header::CONTENT_LENGTH;
    use proptest::prelude::*;

    use super::*;

    const INSERTED: &str = r#""stream_options":{"include_usage":true},"#;

    fn sent(body: &str) -> String {
        include_usage(http::Request::new(body.to_owned())).into_body()
    }

    #[test]
    fn streamed_completion_requests_usage() {
        // Body, expected body.
        let table = [
            (
                r#"{"stream":true,"messages":[]}"#,
                r#"{"stream_options":{"include_usage":true},"stream":true,"messages":[]}"#,
            ),
            (
                " \r\n{ \"messages\" : [{}] , \"seed\": 12345678901234567890123.10, \"stream\" : \
                 true }\n",
                " \r\n{\"stream_options\":{\"include_usage\":true}, \"messages\" : [{}] , \
                 \"seed\": 12345678901234567890123.10, \"stream\" : true }\n",
            ),
            (
                r#"{"messages":[],"stream_options":{},"stream":true}"#,
                r#"{"messages":[],"stream_options":{"include_usage":true},"stream":true}"#,
            ),
            (
                r#"{"messages":[],"stream_options" : { } ,"stream":true}"#,
                r#"{"messages":[],"stream_options" : {"include_usage":true } ,"stream":true}"#,
            ),
            (
                r#"{"messages":[],"stream":true,"stream_options":{"include_obfuscation":false}}"#,
                concat!(
                    r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true,"#,
                    r#""include_obfuscation":false}}"#,
                ),
            ),
            (
                r#"{"messages":[],"stream_options":null,"stream":true}"#,
                r#"{"messages":[],"stream_options":{"include_usage":true},"stream":true}"#,
            ),
            (
                r#"{"messages":["stream_options"],"stream":true,"stream_options": {}}"#,
                concat!(
                    r#"{"messages":["stream_options"],"stream":true,"stream_options": "#,
                    r#"{"include_usage":true}}"#,
                ),
            ),
            (
                r#"{"m\u0065ssages":[],"stre\u0061m":true}"#,
                concat!(
                    r#"{"stream_options":{"include_usage":true},"m\u0065ssages":[],"#,
                    r#""stre\u0061m":true}"#,
                ),
            ),
            (
                r#"{"messages":[],"stream":true,"stream\u005foptions":{}}"#,
                r#"{"messages":[],"stream":true,"stream\u005foptions":{"include_usage":true}}"#,
            ),
            // Other members are not parsed.
            (
                r#"{"a":"\ud800","b":1e999,"stream":true,"messages":["\ud800"]}"#,
                concat!(
                    r#"{"stream_options":{"include_usage":true},"a":"\ud800","b":1e999,"#,
                    r#""stream":true,"messages":["\ud800"]}"#,
                ),
            ),
        ];
        for (body, expected) in table {
            assert_eq!(sent(body), expected);
            assert_eq!(sent(&sent(body)), expected, "a second time");
        }
    }

    #[test]
    fn other_requests_are_unchanged() {
        for body in [
            "",
            "text",
            "[]",
            "{}",
            r#"{"stream":true}"#,
            r#"{"stream":true,"input":"a"}"#,
            r#"{"stream":true,"input":{"messages":[]}}"#,
            r#"{"messages":[]}"#,
            r#"{"messages":[],"stream":false}"#,
            r#"{"messages":[],"stream":"true"}"#,
            r#"{"messages":[],"stream":1}"#,
            r#"{"messages":[],"stream":null}"#,
            r#"{"messages":[{"stream":true}]}"#,
            r#"{"messages":[],"stream":false,"stream":true}"#,
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":false}}"#,
            r#"{"messages":[],"stream":true,"stream_options":{"a":1,"include_usage":true,"b":2}}"#,
            r#"{"messages":[],"stream":true,"stream_options":{"include_usage":null}}"#,
            r#"{"messages":[],"stream":true,"stream_options":{},"stream_options":{}}"#,
            r#"{"messages":[],"stream":true,"stream_options":[]}"#,
            r#"{"messages":[],"stream":true,"stream_options":true}"#,
            r#"{"anthropic_version":"a","messages":[],"stream":true}"#,
            r#"{"messages":[],"stream":true,"anthropic_version":"a"}"#,
            r#"{"messages":[],"stream":true"#,
            r#"{"messages":[],"stream":true} {}"#,
            r#"{"messages":[],"stream":true,}"#,
        ] {
            assert_eq!(sent(body), body);
        }
    }

    #[test]
    fn anthropic_requests_are_unchanged() {
        let body = r#"{"stream":true,"messages":[]}"#;
        let request = |uri, name| {
            http::Request::post(uri)
                .header(name, "2023-06-01")
                .body(body.to_owned())
                .unwrap()
        };
        // URI, header, whether the request is left unchanged.
        let table = [
            ("/v1/chat/completions", "x-version", false),
            ("/v1/messages/other", "x-version", false),
            ("/v1/other?/messages", "x-version", false),
            ("/v1/messages", "x-version", true),
            (
                "https://example.com/v1/messages/?beta=true",
                "x-version",
                true,
            ),
            ("/v1/chat/completions", "anthropic-version", true),
        ];
        for (uri, name, is_left) in table {
            let sent = include_usage(request(uri, name));
            assert_eq!(sent.body() == body, is_left, "{uri} {name}");
        }
    }

    #[test]
    fn content_length_is_updated() {
        let body = r#"{"stream":true,"messages":[]}"#;
        let request = http::Request::post("/")
            .header(CONTENT_LENGTH, body.len())
            .body(bytes::Bytes::from(body))
            .unwrap();
        let sent = include_usage(request);
        assert_eq!(sent.body().len(), body.len() + INSERTED.len());
        assert_eq!(
            sent.headers()[CONTENT_LENGTH],
            sent.body().len().to_string()
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_sent(body in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(include_usage(http::Request::new(body.clone())).into_body(), body);
        }

        #[test]
        fn adds_only_the_member(
            before in prop::collection::vec("[a-z\"\\\\{}é]{0,6}", 0..4),
            options in prop::sample::select(vec!["", "{}", "null", r#"{ "a": {} }"#]),
            spaces in "[ \n\t]{0,3}",
        ) {
            let mut members = vec![
                format!("{spaces}\"messages\"{spaces}:{spaces}[{{}}]"),
                format!("\"stream\":{spaces}true{spaces}"),
            ];
            for (index, text) in before.iter().enumerate() {
                members.insert(0, format!("\"{index}\":{}", serde_json::to_string(text).unwrap()));
            }
            if !options.is_empty() {
                members.insert(1, format!("\"stream_options\"{spaces}:{spaces}{options}"));
            }
            let body = format!("{spaces}{{{}}}", members.join(","));
            let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
            let mut expected = read(&body);
            if expected["stream_options"].is_null() {
                expected["stream_options"] = serde_json::json!({});
            }
            expected["stream_options"]["include_usage"] = true.into();
            prop_assert_eq!(read(&sent(&body)), expected);
        }
    }
}
