//! Ask for the usage at the end of a streamed chat completion.

use std::{fmt, ops::Range};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::plain::{Look, Plain};
use crate::{PeekBody, ReplaceBody, RequestHead};

const STREAM_OPTIONS: &str = "stream_options";

/// What the body says of a stream.
#[derive(Default)]
struct Found {
    has_messages: bool,
    /// Has the member by which Anthropic's API is told apart where another cloud serves it.
    is_anthropic: bool,
    is_stream: bool,
    /// Where the name is in memory, and what is there.
    options: Option<(usize, Options)>,
    /// A member is there twice, and readers differ in which of them counts.
    is_ambiguous: bool,
}

/// The value of `stream_options`, which is an object or `null`.
#[derive(Clone, Copy)]
enum Options {
    Null,
    Empty,
    /// Has members, and none of them is `include_usage`.
    Silent,
    /// Says whether to include the usage.
    Said,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Member {
    Messages,
    AnthropicVersion,
    Stream,
    /// Where the name is in memory.
    Options(usize),
    Other,
}

/// Reads the whole body.
struct Body<'a>(&'a mut Found);

/// Reads the value of `stream_options`.
struct ReadOptions;

/// Asks for the usage at the end of a streamed answer, where the API says nothing of it unless asked.
///
/// That is OpenAI's chat completions, and all that speak like it: a request with `"stream": true` and `messages` gets
/// `"stream_options": {"include_usage": true}`, and its answer one more event, before the last, that has no choices and
/// the usage. Without it, what such a request has used stays unknown, and the estimate stands; where tokens count at
/// admission, as with OpenAI itself, it stands in any case.
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
/// No other byte of the body is touched, and a `Content-Length` follows. A request passes as it is if
///
/// - it says itself whether to include the usage, or its `stream_options` is no object,
/// - it is not for this API: it has no `messages`, has the header `anthropic-version` or the member `anthropic_version`,
///   or a path that ends in `/messages`,
/// - it has no `"stream": true`,
/// - its body can't be [peeked](PeekBody), is not JSON, or has the same member of these twice,
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
            // Where it can't be replaced, it is sent as it was.
            let _ = request.replace_body(body.into());
        }
    }
    request
}

/// The body that asks for the usage; `None` where it does already or should not.
fn with_usage(body: &[u8]) -> Option<Vec<u8>> {
    let mut found = Found::default();
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    Body(&mut found).deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    if !found.has_messages || found.is_anthropic || !found.is_stream || found.is_ambiguous {
        return None;
    }
    let Some((name, options)) = found.options else {
        // The object is not empty: it has messages.
        let inside = body.iter().position(|byte| *byte == b'{')? + 1;
        let member = br#""stream_options":{"include_usage":true},"#;
        return spliced(body, inside..inside, member);
    };
    let value = value_after(body, name)?;
    let inside = value + 1..value + 1;
    match options {
        Options::Null => spliced(body, value..value + 4, br#"{"include_usage":true}"#),
        Options::Empty => spliced(body, inside, br#""include_usage":true"#),
        Options::Silent => spliced(body, inside, br#""include_usage":true,"#),
        Options::Said => None,
    }
}

/// The body with `text` in the place of a range of it.
fn spliced(body: &[u8], range: Range<usize>, text: &[u8]) -> Option<Vec<u8>> {
    let (before, after) = (body.get(..range.start)?, body.get(range.end..)?);
    Some([before, text, after].concat())
}

/// Where the value of a member begins, whose name is at `name` in memory.
///
/// `None` for a name with escapes, since that has been read elsewhere than in the body.
fn value_after(body: &[u8], name: usize) -> Option<usize> {
    let name = name.checked_sub(body.as_ptr() as usize)?;
    let end = name.checked_add(STREAM_OPTIONS.len())?;
    // A quote, a colon, and spaces.
    let between = body
        .get(end..)?
        .iter()
        .position(|byte| !matches!(byte, b'"' | b':') && !byte.is_ascii_whitespace())?;
    Some(end + between)
}

// ===== impl Member =====

impl Member {
    fn of(name: Plain<'_>) -> Self {
        match name {
            Plain::Text("messages") => Self::Messages,
            Plain::Text("anthropic_version") => Self::AnthropicVersion,
            Plain::Text("stream") => Self::Stream,
            Plain::Text(name) if name == STREAM_OPTIONS => Self::Options(name.as_ptr() as usize),
            _ => Self::Other,
        }
    }
}

// ===== readers =====

impl<'de> DeserializeSeed<'de> for Body<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Body<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a request")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let found = self.0;
        let mut has_stream = false;
        while let Some(member) = map.next_key_seed(Look(Member::of))? {
            match member {
                Member::Messages => {
                    found.has_messages = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Member::AnthropicVersion => {
                    found.is_anthropic = true;
                    map.next_value::<IgnoredAny>()?;
                }
                Member::Stream => {
                    found.is_ambiguous |= has_stream;
                    has_stream = true;
                    let is_true = |value: Plain<'_>| value == Plain::Bool(true);
                    found.is_stream = map.next_value_seed(Look(is_true))?;
                }
                Member::Options(name) => {
                    found.is_ambiguous |= found.options.is_some();
                    found.options = Some((name, map.next_value_seed(ReadOptions)?));
                }
                Member::Other => map.next_value::<IgnoredAny>().map(drop)?,
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for ReadOptions {
    type Value = Options;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Options, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for ReadOptions {
    type Value = Options;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("options of a stream")
    }

    fn visit_none<E>(self) -> Result<Options, E> {
        Ok(Options::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Options, D::Error> {
        deserializer.deserialize_map(self)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Options, A::Error> {
        let mut options = Options::Empty;
        let says = |name: Plain<'_>| name == Plain::Text("include_usage");
        while let Some(says) = map.next_key_seed(Look(says))? {
            map.next_value::<IgnoredAny>()?;
            options = match options {
                Options::Said => Options::Said,
                _ if says => Options::Said,
                _ => Options::Silent,
            };
        }
        Ok(options)
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
    fn a_streamed_completion_asks_for_its_usage() {
        // What there is, and what is sent
        let table = [
            (
                r#"{"stream":true,"messages":[]}"#,
                r#"{"stream_options":{"include_usage":true},"stream":true,"messages":[]}"#,
            ),
            (
                " \r\n{ \"messages\" : [{}] , \"seed\": 12345678901234567890123.10, \"stream\" : true }\n",
                " \r\n{\"stream_options\":{\"include_usage\":true}, \"messages\" : [{}] , \"seed\": 12345678901234567890123.10, \"stream\" : true }\n",
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
                r#"{"messages":[],"stream":true,"stream_options":{"include_usage":true,"include_obfuscation":false}}"#,
            ),
            (
                r#"{"messages":[],"stream_options":null,"stream":true}"#,
                r#"{"messages":[],"stream_options":{"include_usage":true},"stream":true}"#,
            ),
            (
                r#"{"messages":["stream_options"],"stream":true,"stream_options": {}}"#,
                r#"{"messages":["stream_options"],"stream":true,"stream_options": {"include_usage":true}}"#,
            ),
            (
                r#"{"m\u0065ssages":[],"stre\u0061m":true}"#,
                r#"{"stream_options":{"include_usage":true},"m\u0065ssages":[],"stre\u0061m":true}"#,
            ),
        ];
        for (body, expected) in table {
            assert_eq!(sent(body), expected);
            assert_eq!(sent(&sent(body)), expected, "a second time");
        }
    }

    #[test]
    fn everything_else_stays_as_it_is() {
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
            r#"{"messages":[],"stream":true,"stream\u005foptions":{}}"#,
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
    fn requests_to_anthropic_are_left_alone() {
        let body = r#"{"stream":true,"messages":[]}"#;
        let request = |uri, name| {
            http::Request::post(uri)
                .header(name, "2023-06-01")
                .body(body.to_owned())
                .unwrap()
        };
        // Where to, a header, and whether it is left alone
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
    fn the_content_length_follows() {
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
        fn what_is_sent_is_what_there_was_and_the_member(
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
