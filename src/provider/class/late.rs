//! What errors are, those too that come under a status that says that all is well.

use http::{HeaderMap, StatusCode};
use serde_json::Value;

use super::{Told, error::Error, kind, words};
use crate::{Outcome, header::is_compressed};

/// An error as it is, or would have been, had it come in time.
///
/// Who has found it leaves it in the response's extensions: the body need not be read again, and around an error in it there
/// may be much that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) status: StatusCode,
    pub(crate) outcome: Outcome,
    /// What it means where it is a refusal.
    pub(crate) told: Option<Told>,
}

// ===== impl Diagnosis =====

impl Diagnosis {
    /// What the error [in](error_in) an event, or in an answer with these headers, is.
    pub(crate) fn of(root: &Value, headers: &HeaderMap) -> Self {
        let error = error_in(root).unwrap_or(root);
        Self::late(&Error::of(error, headers), headers)
    }

    /// The same of one that is not JSON.
    pub(crate) fn of_text(text: &[u8], headers: &HeaderMap) -> Self {
        Self::late(&Error::read(text, headers), headers)
    }

    /// What an error is that came in time.
    ///
    /// The body may be empty, cut anywhere, or not JSON. One that is compressed is as if it were empty.
    pub(crate) fn in_time(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let body = if is_compressed(headers) { &[] } else { body };
        Self::new(status, &Error::read(body, headers), headers)
    }

    fn late(error: &Error, headers: &HeaderMap) -> Self {
        Self::new(status(error), error, headers)
    }

    fn new(status: StatusCode, error: &Error, headers: &HeaderMap) -> Self {
        Self {
            status,
            outcome: kind::of(status, headers, error),
            told: Told::of(status, headers, error),
        }
    }
}

/// The error in an event, or in an answer as a whole: a value with the error in it, or the error itself.
pub(crate) fn error_in(root: &Value) -> Option<&Value> {
    let has_error = |value: &Value| match value.get("error") {
        Some(Value::String(error)) => !error.is_empty(),
        Some(Value::Object(error)) => !error.is_empty(),
        _ => false,
    };
    let text = |value: &Value, name: &str, text: &str| {
        value.get(name).and_then(Value::as_str) == Some(text)
    };
    if has_error(root) || text(root, "type", "error") || text(root, "object", "error") {
        return Some(root);
    }
    if let Some(response) = root.get("response") {
        if has_error(response) || text(root, "type", "response.failed") {
            return Some(response);
        }
    }
    let choices = root.get("choices")?.as_array()?;
    if let Some(choice) = choices.iter().find(|choice| has_error(choice)) {
        return Some(choice);
    }
    let failed = |choice: &Value| text(choice, "finish_reason", "error");
    choices.iter().any(failed).then_some(root)
}

/// Whether there is nothing in a value that anybody would read. What it is called and whose it is does not count.
pub(crate) fn is_hollow(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(values) => values.iter().all(is_hollow),
        Value::Object(members) => members
            .iter()
            .all(|(name, value)| matches!(&**name, "type" | "role") || is_hollow(value)),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// The status that an error has where it comes as one; 500 where that can't be told.
fn status(error: &Error) -> StatusCode {
    if let Some(status) = error.codes().find_map(number) {
        return status;
    }
    let says = |is: fn(&str) -> bool| error.has_code(is) || error.says(is);
    named(error).unwrap_or_else(|| {
        if says(words::is_context) || says(words::is_policy) {
            StatusCode::BAD_REQUEST
        } else if says(words::is_no_money) || says(words::is_limit) {
            StatusCode::TOO_MANY_REQUESTS
        } else if says(words::is_capacity) {
            StatusCode::SERVICE_UNAVAILABLE
        } else {
            StatusCode::INTERNAL_SERVER_ERROR
        }
    })
}

/// The status that a code or type of the error stands for.
pub(super) fn named(error: &Error) -> Option<StatusCode> {
    let status = error.codes().find_map(by_name)?;
    StatusCode::from_u16(status).ok()
}

fn number(code: &str) -> Option<StatusCode> {
    let status = code.parse().ok().filter(|code| (400..600).contains(code))?;
    StatusCode::from_u16(status).ok()
}

fn by_name(code: &str) -> Option<u16> {
    if words::is_money(code) {
        return Some(if code == "billing_error" { 402 } else { 429 });
    }
    if words::is_context_code(code) || words::is_policy_code(code) {
        return Some(400);
    }
    Some(match code {
        "invalid_request_error"
        | "invalid_prompt"
        | "INVALID_ARGUMENT"
        | "FAILED_PRECONDITION"
        | "OUT_OF_RANGE"
        | "BadRequestError" => 400,
        "authentication_error" | "invalid_api_key" | "UNAUTHENTICATED" => 401,
        "permission_error" | "permission_denied" | "PERMISSION_DENIED" => 403,
        "not_found_error" | "model_not_found" | "NOT_FOUND" | "NotFoundError" => 404,
        "request_too_large" => 413,
        "rate_limit_error"
        | "rate_limit_exceeded"
        | "slow_down"
        | "resource_unavailable"
        | "too_many_requests"
        | "RESOURCE_EXHAUSTED"
        | "ThrottlingException" => 429,
        "api_error"
        | "server_error"
        | "internal_error"
        | "internal_server_error"
        | "INTERNAL"
        | "UNKNOWN"
        | "DATA_LOSS"
        | "InternalServerError" => 500,
        "UNIMPLEMENTED" => 501,
        "service_unavailable" | "engine_overloaded" | "server_overloaded" | "UNAVAILABLE" => 503,
        "timeout_error" | "timeout" | "DEADLINE_EXCEEDED" => 504,
        "overloaded_error" => 529,
        _ => return None,
    })
}
