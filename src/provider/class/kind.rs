//! What kind of failure an error of a provider's is.

use http::{HeaderMap, StatusCode};

use super::{Class, Told, error::Error, late, words};
use crate::ErrorKind;

/// What kind of failure an error response is, by what its body says and else by its status; `None` where neither tells.
pub(super) fn of(status: StatusCode, headers: &HeaderMap, error: &Error) -> Option<ErrorKind> {
    // In the message of a refusal by a limit these words are of something else.
    let is_in_words = matches!(status.as_u16(), 400 | 403 | 413 | 422 | 500);
    let says = |is: fn(&str) -> bool| is_in_words && error.says(is);
    if error.has_code(words::is_context_code) || says(words::is_context) {
        return Some(ErrorKind::ContextLength);
    }
    if error.has_code(words::is_policy_code) || says(words::is_policy) {
        return Some(ErrorKind::ContentPolicy);
    }
    if error.has_code(words::is_money) || error.says(words::is_no_money) {
        return Some(ErrorKind::Money);
    }
    if let Some(told) = Told::of(status, headers, error) {
        return Some(of_class(told.class));
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Some(ErrorKind::TooLarge);
    }
    let named = late::named(error).and_then(ErrorKind::of_status);
    named
        .filter(|kind| *kind != ErrorKind::Server)
        .or_else(|| ErrorKind::of_status(status))
}

fn of_class(class: Class) -> ErrorKind {
    match class {
        Class::Rate | Class::Concurrency | Class::Ramp => ErrorKind::RateLimit,
        Class::Day | Class::Money => ErrorKind::Money,
        Class::TooLarge => ErrorKind::TooLarge,
        Class::Capacity => ErrorKind::Overload,
    }
}
