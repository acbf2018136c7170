//! Detects errors in successful responses: in an event of a stream or in a body.

use crate::payload::{is_one_of, json::Json};

/// The places of an error in a text, apart from the top level.
const PLACES: &str = "*|response|delta|choices/*|candidates/*|*/candidates/*";
/// The places of the content of a response.
const CONTENT: &str = "content|output|output_text|message/content|response/output|choices/*/delta|\
    choices/*/message|choices/*/text|candidates/*/content";
/// The types of events that are errors.
const FAILED: &str = "error|response.failed|conversation.response.error";
/// The types of events before any content.
const BEGINNINGS: &str = "ping|keepalive|message_start|message-start|content_block_stop|\
    response.created|response.queued|response.in_progress";
/// Why a response may be finished, in any case: everything was said, a tool is called, the output
/// is as long as it may be, or a policy forbids the rest. Anything else, such as `network_error`,
/// is an error.
const FINISHED: &str = "stop|stop_sequence|end_turn|complete|eos|eos_token|load|unload|\
    tool_calls|tool_call|tool_use|function_call|pause_turn|\
    length|max_tokens|max_length|model_length|model_context_window_exceeded|\
    content_filter|content_filtered|guardrail_intervened|refusal|sensitive|safety|image_safety|\
    recitation|image_recitation|language|blocklist|prohibited_content|image_prohibited_content|\
    spii";

/// The `object` of an error or a response.
const OBJECTS: &str = "error|response|chat.completion|chat.completion.chunk|text_completion";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Says {
    /// The response begins or goes on, without content.
    #[default]
    Nothing,
    /// Content, or anything unknown.
    Content,
    /// An error without any content.
    Error,
}

/// Classifies a text. `is_error` is set if its event is named `error`.
pub(crate) fn says(root: Json<'_>, is_error: bool) -> Says {
    match is_error || error_in(root).is_some() {
        true if are_hollow(root, CONTENT) && (is_error || !is_report(root)) => Says::Error,
        false if is_silent(root) => Says::Nothing,
        _ => Says::Content,
    }
}

/// Returns the error in a text: a value that contains the error, or the error itself. Every check
/// for an error uses this function.
///
/// An `error` that is `null`, `false` or empty is ignored.
pub(crate) fn error_in(root: Json<'_>) -> Option<Json<'_>> {
    let inside = PLACES.split('|').flat_map(|place| root.at(place));
    let values: Vec<_> = std::iter::once(root).chain(inside).collect();
    let has_error = |value: &&Json<'_>| value.get("error").is_some_and(|error| !is_blank(error));
    let error = values.iter().find(has_error);
    error
        .or_else(|| values.iter().find(|value| is_failed(**value)))
        .copied()
}

/// Returns `true` if one of its members marks an error.
fn is_failed(value: Json<'_>) -> bool {
    let is_marked = value.members().any(|(name, member)| {
        let is_code = |code: Json<'_>| !is_blank(code) && code.text() != "0";
        match &*name.as_str().unwrap_or_default() {
            "type" => member.as_str().is_some_and(|name| is_one_of(&name, FAILED)),
            "object" => member.is("error"),
            "success" => member.text() == "false",
            "error_code" => is_code(member),
            "base_resp" => member.get("status_code").is_some_and(is_code),
            "finish_reason" | "finishReason" | "stopReason" | "done_reason" => !is_finished(member),
            _ => false,
        }
    });
    // Beside a reason it is the text at which the output ends.
    let is_stop = |reason| !is_finished(reason) && value.get("finish_reason").is_none();
    is_marked
        || (is(value, "status", "failed") && is(value, "object", "response"))
        || value.get("stop_reason").is_some_and(is_stop)
}

fn is_finished(reason: Json<'_>) -> bool {
    let name = reason.as_str().map(|text| text.to_ascii_lowercase());
    is_blank(reason) || name.is_some_and(|name| is_one_of(&name, FINISHED))
}

fn is(value: Json<'_>, name: &str, text: &str) -> bool {
    value.get(name).is_some_and(|value| value.is(text))
}

fn is_blank(value: Json<'_>) -> bool {
    let start: String = value.tokens().take(3).map(Json::text).collect();
    matches!(&*start, "null" | "false" | "\"\"" | "{}" | "[]")
}

/// Returns `true` if these paths have no content.
fn are_hollow(root: Json<'_>, paths: &str) -> bool {
    let mut values = paths.split('|').flat_map(|path| root.at(path));
    values.all(is_hollow)
}

/// Returns `true` if a value has no content. Names and roles do not count.
fn is_hollow(value: Json<'_>) -> bool {
    let mut member = "";
    let mut tokens = value.tokens().map(Json::text).peekable();
    while let Some(token) = tokens.next() {
        match token {
            "," => member = "",
            "{" | "}" | "[" | "]" | ":" | "null" | "\"\"" => {}
            name if tokens.peek() == Some(&":") => member = name,
            _ if matches!(member, "\"type\"" | "\"role\"") => {}
            _ => return false,
        }
    }
    true
}

/// Returns `true` if it reports the failure of another operation: a job, one request of a batch, a
/// procedure call.
fn is_report(root: Json<'_>) -> bool {
    let text = |name| root.get(name).and_then(Json::as_str);
    let has = |name| root.get(name).is_some();
    let is_other = match text("object").unwrap_or_default() {
        object if object.is_empty() => {
            has("done") || text("status").is_some_and(|status| status != "error")
        }
        object => !is_one_of(&object, OBJECTS),
    };
    is_other || has("custom_id") || has("jsonrpc")
}

/// Returns `true` if an event precedes the first content.
fn is_silent(root: Json<'_>) -> bool {
    let Some(name) = root.get("type").and_then(Json::as_str) else {
        return is_silent_chunk(root);
    };
    // A tool call is content by its name alone.
    let item = root.get("item").unwrap_or_default();
    let is_item = is(item, "type", "message") || is(item, "type", "reasoning");
    are_hollow(
        root,
        match &*name {
            "content_block_start" => "content_block",
            "content_block_delta" | "content-start" => "delta",
            "response.content_part.added" | "response.reasoning_summary_part.added" => "part",
            "response.output_item.added" if is_item => "item/content|item/summary",
            name => return is_one_of(name, BEGINNINGS),
        },
    )
}

/// Returns `true` for a silent chunk without an event type, as in OpenAI's completions and Gemini.
fn is_silent_chunk(root: Json<'_>) -> bool {
    let is_array = |name| root.get(name).is_some_and(Json::is_array);
    let parts = if is_array("choices") {
        "choices/*/finish_reason|choices/*/delta|choices/*/message|choices/*/text"
    } else {
        "promptFeedback|candidates/*/finishReason|candidates/*/content"
    };
    (is_array("choices") || is_array("candidates")) && are_hollow(root, parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_in_bodies() {
        for (text, expected) in [
            ("{}", false),
            ("null", false),
            (r#""error""#, false),
            (r#"["error", 1, 1.5, -1, null, true]"#, false),
            (r#"{"error": {"message": "x"}}"#, true),
            (r#"{"error": "x"}"#, true),
            (r#"{"error": true, "message": "x"}"#, true),
            (r#"{"id": 1, "error": 0}"#, true),
            (r#"{"error": ["x"]}"#, true),
            (r#"{"error": null, "id": 1}"#, false),
            (r#"{"error": false, "id": 1}"#, false),
            (r#"{"error": "", "id": 1}"#, false),
            (r#"{"error": { }, "id": 1}"#, false),
            (r#"{"error": [ ], "id": 1}"#, false),
            (r#"{"type":"error","error":{}}"#, true),
            (r#"{"request_id":"r","type":"error"}"#, true),
            (r#"{"object":"error","message":"m"}"#, true),
            (r#"{"type":"message"}"#, false),
            (r#"{"text": "{\"error\": 1}"}"#, false),
            (r#"{"steps": [{"error": 1}]}"#, false),
            (r#"{"message": {"error": 1}}"#, false),
            // OpenAI's responses.
            (
                r#"{"type":"response.failed","response":{"error":null}}"#,
                true,
            ),
            (
                r#"{"type":"response.created","response":{"error":null}}"#,
                false,
            ),
            (r#"{"response":{"error":{"code":"server_error"}}}"#, true),
            // OpenRouter.
            (r#"{"choices":[{},{"error":{"code":502}}]}"#, true),
            (
                r#"{"choices":[{"delta":{},"finish_reason":"error"}]}"#,
                true,
            ),
            (
                r#"{"choices":[{"delta":{},"finish_reason":"stop"}]}"#,
                false,
            ),
            // Gemini.
            (r#"[{"candidates": []}, {"error": {"code": 503}}]"#, true),
            // Mistral.
            (
                r#"{"type":"conversation.response.error","message":"m","code":1}"#,
                true,
            ),
            // Cohere.
            (
                r#"{"type":"message-end","delta":{"finish_reason":"ERROR"}}"#,
                true,
            ),
            (
                r#"{"type":"message-end","delta":{"finish_reason":"TIMEOUT"}}"#,
                true,
            ),
            (
                r#"{"type":"message-end","delta":{"finish_reason":"COMPLETE"}}"#,
                false,
            ),
            (r#"{"finish_reason":"ERROR","text":"Hi"}"#, true),
            // Reasons that are not known to be good.
            (r#"{"choices":[{"finish_reason":"network_error"}]}"#, true),
            (r#"{"choices":[{"finish_reason":"abort"}]}"#, true),
            (r#"{"choices":[{"finish_reason":null}]}"#, false),
            (
                r#"{"choices":[{"finish_reason":"length","stop_reason":"\n\n"}]}"#,
                false,
            ),
            (r#"{"candidates":[{"finishReason":"OTHER"}]}"#, true),
            (
                r#"[{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}]"#,
                true,
            ),
            (r#"{"candidates":[{"finishReason":"MAX_TOKENS"}]}"#, false),
            (
                r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"}}"#,
                false,
            ),
            (r#"{"type":"message","stop_reason":"unheard_of"}"#, true),
            (r#"{"stopReason":"guardrail_intervened"}"#, false),
            (r#"{"done":true,"done_reason":"load"}"#, false),
            (
                r#"{"object":"response","status":"failed","error":null}"#,
                true,
            ),
            (r#"{"object":"response","status":"completed"}"#, false),
            // MiniMax, Z.AI, Cloudflare, Baidu.
            (
                r#"{"base_resp":{"status_code":1008,"status_msg":"insufficient balance"}}"#,
                true,
            ),
            (
                r#"{"base_resp":{"status_code":0,"status_msg":"success"}}"#,
                false,
            ),
            (r#"{"success":false,"msg":"m"}"#, true),
            (r#"{"success":true,"errors":[]}"#, false),
            (r#"{"error_code":336003,"error_msg":"m"}"#, true),
            (r#"{"error_code":0}"#, false),
        ] {
            let found = error_in(Json::parse(text.as_bytes()).unwrap());
            assert_eq!(found.is_some(), expected, "{text}");
        }
    }

    #[test]
    fn repeated_members_take_linear_time() {
        for member in [r#""status":"failed","#, r#""stop_reason":"","#] {
            let text = format!("{{{}}}", member.repeat(5_000));
            let start = tokio::time::Instant::now();
            assert!(error_in(Json::lenient(&text)).is_none());
            assert!(start.elapsed() < std::time::Duration::from_secs(5));
        }
    }

    #[test]
    fn values_without_content() {
        let deep = format!("{}{}", "[".repeat(50_000), "]".repeat(50_000));
        for (text, expected) in [
            ("null", true),
            ("\"\"", true),
            ("[]", true),
            (r#"{"type":"text","text":"","role":"model"}"#, true),
            (r#"{"parts":[{"text":""},null],"role":"a"}"#, true),
            (r#"{"type":"text","text":"a"}"#, false),
            (r#"{"role":"type","content":"b"}"#, false),
            (r#"{"a":[{"b":0}]}"#, false),
            ("false", false),
            ("\"type\"", false),
            (&*deep, true),
        ] {
            let value = Json::parse(text.as_bytes()).unwrap();
            assert_eq!(is_hollow(value), expected, "{:.60}", text);
        }
    }
}
