//! What one event of a stream says, or an answer as a whole.

use serde_json::Value;

use crate::provider::{error_in, is_hollow};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Says {
    /// That the answer begins, or goes on.
    Nothing,
    /// Something that a reader waits for; whatever isn't known is held for that.
    Content,
    /// That there will be no answer, and nothing of one is there.
    Error,
}

/// `is_error` where the event is called one.
pub(super) fn says(root: &Value, is_error: bool) -> Says {
    if is_error || error_in(root).is_some() {
        let is_of_another = !is_error && is_report(root);
        return if has_content(root) || is_of_another {
            Says::Content
        } else {
            Says::Error
        };
    }
    if is_silent(root) {
        Says::Nothing
    } else {
        Says::Content
    }
}

/// Whether there is a part of an answer beside an error.
fn has_content(root: &Value) -> bool {
    let in_choice = |choice: &Value| {
        let mut places = ["delta", "message", "text"].iter();
        places.any(|place| !is_member_hollow(choice, place))
    };
    let in_candidate = |candidate: &Value| !is_member_hollow(candidate, "content");
    let mut places = ["content", "output", "output_text"].iter();
    places.any(|place| !is_member_hollow(root, place))
        || elements(root, "choices").any(in_choice)
        || elements(root, "candidates").any(in_candidate)
        || ["/message/content", "/response/output"]
            .iter()
            .filter_map(|place| root.pointer(place))
            .any(|content| !is_hollow(content))
}

/// Whether it was something else that failed, and this tells of it: a job, one request of a batch, a call of a procedure.
fn is_report(root: &Value) -> bool {
    let text = |name| root.get(name).and_then(Value::as_str);
    let object = text("object").unwrap_or_default();
    let is_answer = matches!(
        object,
        "" | "error" | "response" | "chat.completion" | "chat.completion.chunk" | "text_completion"
    );
    let has_state = object.is_empty()
        && (text("status").is_some_and(|status| status != "error") || root.get("done").is_some());
    let mut names = ["custom_id", "jsonrpc"].iter();
    !is_answer || has_state || names.any(|name| root.get(name).is_some())
}

/// Whether an event comes before the first content.
fn is_silent(root: &Value) -> bool {
    let Some(name) = root.get("type").and_then(Value::as_str) else {
        return is_silent_chunk(root);
    };
    match name {
        "ping"
        | "keepalive"
        | "message_start"
        | "message-start"
        | "content_block_stop"
        | "response.created"
        | "response.queued"
        | "response.in_progress" => true,
        "content_block_start" => is_member_hollow(root, "content_block"),
        "content_block_delta" | "content-start" => is_member_hollow(root, "delta"),
        "response.content_part.added" | "response.reasoning_summary_part.added" => {
            is_member_hollow(root, "part")
        }
        "response.output_item.added" => root.get("item").is_some_and(is_empty_item),
        _ => false,
    }
}

/// A call of a tool is content by its name alone.
fn is_empty_item(item: &Value) -> bool {
    let kind = item.get("type").and_then(Value::as_str);
    matches!(kind, Some("message" | "reasoning"))
        && is_member_hollow(item, "content")
        && is_member_hollow(item, "summary")
}

/// Chunks of the kind that has no name, of OpenAI's completions and of Gemini's.
fn is_silent_chunk(root: &Value) -> bool {
    let are_hollow =
        |value: &Value, members: &[&str]| members.iter().all(|name| is_member_hollow(value, name));
    if root.get("choices").is_some_and(Value::is_array) {
        let parts = ["finish_reason", "delta", "message", "text"];
        return elements(root, "choices").all(|choice| are_hollow(choice, &parts));
    }
    root.get("candidates").is_some_and(Value::is_array)
        && is_member_hollow(root, "promptFeedback")
        && elements(root, "candidates")
            .all(|candidate| are_hollow(candidate, &["finishReason", "content"]))
}

fn is_member_hollow(value: &Value, name: &str) -> bool {
    value.get(name).is_none_or(is_hollow)
}

fn elements<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    let elements = value.get(name).and_then(Value::as_array);
    elements.into_iter().flatten()
}
