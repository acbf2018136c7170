//! Classifies errors: the outcome and the limit come from one reading of the same evidence.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{
    body::ErrorBody,
    codes,
    reason::{LimitError, ThrottleReason, line},
    shapes,
};
use crate::{
    error::Outcome,
    http::{Dimension, Hint, RateLimits, Reported},
};

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

/// What an error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Limit(ThrottleReason),
    Other(Outcome),
}

// ===== impl Diagnosis =====

impl Diagnosis {
    /// Returns the wait that the error names, for the extensions of the response.
    pub(crate) fn hint(&self) -> Option<Hint> {
        let wait = self.limit.as_ref()?.retry_after?;
        Some(Hint::new(Some(wait), None))
    }

    /// Diagnoses an error response; without a status an error in an event, or in a response with a
    /// successful status. The body may be empty, truncated, or not JSON.
    ///
    /// The first of these that says anything decides: codes and fields, the message, the status
    /// with the headers. Last, the wait tells the quota of a day from a limit that passes.
    pub(crate) fn of(
        status: impl Into<Option<StatusCode>>,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Self {
        let error = &ErrorBody::read(body, headers);
        let limits = match RateLimits::from_headers(headers) {
            limits if limits.is_empty() => RateLimits::from_headers(&error.headers),
            limits => limits,
        };
        let hint = Hint::from_headers(headers).retry_after();
        let status = status.into().or_else(|| error.status());
        let kind = Kind::of_body(status, error)
            .unwrap_or_else(|| Kind::of_status(status, error, hint, &limits));
        let wait = hint.or_else(|| kind.wait(error, &limits));
        let kind = kind.of_wait(error, wait, &limits);
        Self {
            status: status.unwrap_or_else(|| kind.status()),
            outcome: kind.outcome(),
            limit: match kind {
                Kind::Limit(class) => Some(LimitError {
                    class,
                    retry_after: wait,
                    code: error.codes.first().and_then(|code| line(code)),
                    message: error.message.as_deref().and_then(line),
                }),
                Kind::Other(_) => None,
            },
        }
    }
}

// ===== impl Kind =====

impl Kind {
    const fn outcome(self) -> Outcome {
        match self {
            Self::Limit(reason) => reason.outcome(),
            Self::Other(outcome) => outcome,
        }
    }

    /// Returns the status of an error that has none.
    fn status(self) -> StatusCode {
        match self.outcome() {
            Outcome::ContextTooLong | Outcome::ContentPolicy | Outcome::ClientError => {
                StatusCode::BAD_REQUEST
            }
            Outcome::RateLimited | Outcome::QuotaExhausted => StatusCode::TOO_MANY_REQUESTS,
            Outcome::Overloaded => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// Returns what the codes, the fields and the message say.
    fn of_body(status: Option<StatusCode>, error: &ErrorBody) -> Option<Self> {
        let status = status.map_or(400, |status| status.as_u16());
        // In the message of a rate limit the same words mean something else.
        let may_be_long = matches!(status, 400 | 413 | 422 | 500);
        let of = |text: &String, is_code: bool| {
            if shapes::is_money(text) || (is_code && shapes::has_any(text, codes::MONEY)) {
                return Some(Self::Limit(ThrottleReason::QuotaExhausted));
            }
            if may_be_long && shapes::is_context(text) {
                return Some(Self::Other(Outcome::ContextTooLong));
            }
            let is_policy =
                (is_code || may_be_long || status == 403) && shapes::has_any(text, codes::POLICY);
            is_policy.then_some(Self::Other(Outcome::ContentPolicy))
        };
        if let Some(kind) = error.labels.iter().find_map(|label| of(label, true)) {
            return Some(kind);
        }
        if status == 402 || error.status() == Some(StatusCode::PAYMENT_REQUIRED) {
            return Some(Self::Limit(ThrottleReason::QuotaExhausted));
        }
        if error.is_daily == Some(true) {
            return Some(Self::Limit(ThrottleReason::Day));
        }
        let first = error.sentences.first();
        if first.is_some_and(|first| first.starts_with(" request too large ")) {
            return Some(Self::Limit(ThrottleReason::TooLarge));
        }
        error.sentences.iter().find_map(|text| of(text, false))
    }

    /// Returns what the status says, with the headers and with codes and words that only refine it.
    fn of_status(
        status: Option<StatusCode>,
        error: &ErrorBody,
        hint: Option<Duration>,
        limits: &RateLimits,
    ) -> Self {
        use Outcome::{ClientError, Overloaded, QuotaExhausted, RateLimited, ServerError};
        let is_vague = |outcome: &Outcome| matches!(outcome, ClientError | ServerError);
        let named = error.status().map(Outcome::of_status);
        let of_head = |status| Outcome::in_table(status, || hint, || *limits).0;
        let of_head = || status.map_or(ServerError, of_head);
        let outcome = named
            .filter(|named| !is_vague(named))
            .unwrap_or_else(of_head);
        let may_be_limit = outcome == ServerError || status == Some(StatusCode::FORBIDDEN);
        let is_limit = matches!(outcome, RateLimited | QuotaExhausted)
            || (may_be_limit && is_vague(&outcome) && error.is_of_limit());
        let may_be_overload = is_limit || outcome == ServerError;
        let in_flight = |limit: &Reported| limit.dimension == Dimension::Concurrency;
        let has_code = |label: &String| shapes::has_any(label, codes::RAMP_CODE);
        let is_ramp = || error.mentions(codes::RAMP) || error.labels.iter().any(has_code);
        Self::Limit(if is_limit && is_ramp() {
            ThrottleReason::Ramp
        } else if outcome == Overloaded || (may_be_overload && error.mentions(codes::CAPACITY)) {
            ThrottleReason::Capacity
        } else if !is_limit {
            return Self::Other(outcome);
        } else if error.mentions(codes::CONCURRENCY) || limits.used_up().any(in_flight) {
            ThrottleReason::Concurrency
        } else {
            ThrottleReason::Rate
        })
    }

    /// Returns the wait if no dedicated header names one: the most specific one.
    fn wait(self, error: &ErrorBody, limits: &RateLimits) -> Option<Duration> {
        // A daily quota comes with a wait of seconds, after which the response is the same.
        let counts = error.is_daily != Some(true);
        // An overload says nothing about the limits.
        let is_of_limits = self != Self::Limit(ThrottleReason::Capacity);
        let reset = || limits.reset().filter(|_| is_of_limits);
        let in_words = || shapes::wait(&error.text).filter(|_| counts);
        let delay = error.retry_delay.filter(|_| counts);
        delay.or_else(reset).or_else(in_words)
    }

    /// Returns whether a limit that passes is the quota of a day.
    fn of_wait(self, error: &ErrorBody, wait: Option<Duration>, limits: &RateLimits) -> Self {
        use ThrottleReason::{Concurrency, Day, Ramp, Rate};
        // If the quota is named, its message repeats the name or is about other plans.
        let in_words = self == Self::Limit(Rate)
            && error.is_daily.is_none()
            && shapes::is_day(&error.sentences, true);
        match self {
            Self::Limit(Rate | Concurrency | Ramp) if limits.is_daily(wait, in_words) => {
                Self::Limit(Day)
            }
            kind => kind,
        }
    }
}

// ===== impl ThrottleReason =====

impl ThrottleReason {
    /// Classifies a response; returns `None` if it is not a rejection.
    ///
    /// Statuses 402, 429, 498, 503 and 529 are rejections, and so is any other error whose body or
    /// headers are about a limit. The body may be empty, truncated, or not JSON.
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        LimitError::read(status, headers, body).map(|error| error.class)
    }
}

// ===== impl LimitError =====

impl LimitError {
    /// Reads an error response; returns `None` if it is not about a limit.
    ///
    /// The body may be empty, truncated, or not JSON. A compressed body counts as empty.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        let is_error = status.is_client_error() || status.is_server_error();
        let diagnosis = is_error.then(|| Diagnosis::of(status, headers, body));
        diagnosis?.limit
    }
}
