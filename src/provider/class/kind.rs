//! What kind of failure an error of a provider's is.

use http::{HeaderMap, StatusCode};

use super::{Class, Told, error::Error, late, words};
use crate::Outcome;

/// What kind of failure an error response is, by what its body says and else by its status.
pub(super) fn of(status: StatusCode, headers: &HeaderMap, error: &Error) -> Outcome {
    // In the message of a refusal by a limit these words are of something else.
    let is_in_words = matches!(status.as_u16(), 400 | 403 | 413 | 422 | 500);
    let says = |is: fn(&str) -> bool| is_in_words && error.says(is);
    if error.has_code(words::is_context_code) || says(words::is_context) {
        return Outcome::ContextTooLong;
    }
    if error.has_code(words::is_policy_code) || says(words::is_policy) {
        return Outcome::ContentPolicy;
    }
    if error.has_code(words::is_money) || error.says(words::is_no_money) {
        return Outcome::QuotaExhausted;
    }
    if let Some(told) = Told::of(status, headers, error) {
        return of_class(told.class);
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        return Outcome::ClientError;
    }
    let named = late::named(error).map(Outcome::of_status);
    let named =
        named.filter(|outcome| !matches!(outcome, Outcome::ClientError | Outcome::ServerError));
    named.unwrap_or_else(|| Outcome::of_status(status))
}

fn of_class(class: Class) -> Outcome {
    match class {
        Class::Rate | Class::Concurrency | Class::Ramp => Outcome::RateLimited,
        Class::Day | Class::Money => Outcome::QuotaExhausted,
        Class::TooLarge => Outcome::ClientError,
        Class::Capacity => Outcome::Overloaded,
    }
}
