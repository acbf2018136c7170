//! Classifies errors.

use http::{HeaderMap, StatusCode};

use super::{
    body::ErrorBody,
    codes,
    reason::{LimitError, ThrottleReason},
};
use crate::{error::Outcome, http::Hint};

/// The status and outcome of an error, as if it had been sent as an error response.
///
/// A layer that has read the body stores it in the response's extensions, so that the body need not
/// be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    pub(crate) status: StatusCode,
    pub(crate) outcome: Outcome,
    /// The limit that was exceeded, if any.
    pub(crate) limit: Option<LimitError>,
}

// ===== impl Diagnosis =====

impl Diagnosis {
    /// Returns the wait that the error names, for the extensions of the response.
    pub(crate) fn hint(&self) -> Option<Hint> {
        let wait = self.limit.as_ref()?.retry_after?;
        Some(Hint::new(Some(wait), None))
    }

    /// Diagnoses an error in an event, or in a response with a successful status.
    pub(crate) fn late(text: &[u8], headers: &HeaderMap) -> Self {
        let error = ErrorBody::read(text, headers);
        Self::new(status(&error), headers, &error)
    }

    /// Diagnoses an error response. The body may be empty, truncated, or not JSON.
    pub(crate) fn in_time(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        Self::new(status, headers, &ErrorBody::read(body, headers))
    }

    fn new(status: StatusCode, headers: &HeaderMap, error: &ErrorBody) -> Self {
        let limit = LimitError::of(status, headers, error);
        Self {
            status,
            outcome: outcome(status, headers, error, limit.as_ref()),
            limit,
        }
    }
}

/// Returns the outcome of an error response by its body, or else by its status.
fn outcome(
    status: StatusCode,
    headers: &HeaderMap,
    error: &ErrorBody,
    limit: Option<&LimitError>,
) -> Outcome {
    // In the message of a rate limit these words mean something else.
    let is_in_words = Outcome::is_ambiguous(status) || status == StatusCode::INTERNAL_SERVER_ERROR;
    let says = |words| is_in_words && error.says(words);
    if error.has_code(codes::CONTEXT) || says(codes::CONTEXT) {
        return Outcome::ContextTooLong;
    }
    if error.has_code(codes::POLICY) || says(codes::POLICY) {
        return Outcome::ContentPolicy;
    }
    if error.has_code(codes::MONEY_CODES) || error.says(codes::MONEY_WORDS) {
        return Outcome::QuotaExhausted;
    }
    if let Some(limit) = limit {
        return match limit.class {
            ThrottleReason::Rate | ThrottleReason::Concurrency | ThrottleReason::Ramp => {
                Outcome::RateLimited
            }
            ThrottleReason::Day | ThrottleReason::QuotaExhausted => Outcome::QuotaExhausted,
            ThrottleReason::TooLarge => Outcome::ClientError,
            ThrottleReason::Capacity => Outcome::Overloaded,
        };
    }
    if status == StatusCode::PAYLOAD_TOO_LARGE {
        let is_temporary = Hint::from_headers(headers).retry_after().is_some();
        return if is_temporary && !codes::is_too_large(&error.words) {
            Outcome::Overloaded
        } else {
            Outcome::ClientError
        };
    }
    let named = named(error).and_then(|status| StatusCode::from_u16(status).ok());
    let named = named.map(Outcome::of_status);
    let named =
        named.filter(|outcome| !matches!(outcome, Outcome::ClientError | Outcome::ServerError));
    named.unwrap_or_else(|| Outcome::of_status(status))
}

/// Returns the status that the error has as an error response; 500 if it is unknown.
fn status(error: &ErrorBody) -> StatusCode {
    let number = |code: &String| code.parse().ok().filter(|code| (400..600).contains(code));
    let by_words = || {
        if error.mentions(codes::CONTEXT) || error.mentions(codes::POLICY) {
            400
        } else if error.mentions(codes::MONEY_WORDS) || error.mentions(codes::LIMIT_WORDS) {
            429
        } else if error.mentions(codes::CAPACITY_WORDS) {
            503
        } else {
            500
        }
    };
    let number = error.codes.iter().find_map(number);
    let status = number.or_else(|| named(error)).unwrap_or_else(by_words);
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// Returns the status for a code or type of the error.
fn named(error: &ErrorBody) -> Option<u16> {
    error.codes.iter().find_map(|code| codes::status(code))
}
