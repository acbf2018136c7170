//! Finds the limit that an error is about.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{body::ErrorBody, codes};
use crate::error::Outcome;
use crate::http::{Dimension, Hint, RateLimits, Reported, headers::rate_limit::limits::DAY};

/// The longest wait after which a retry makes sense.
const BEARABLE: Duration = Duration::from_secs(2 * 60);
/// A longer wait is classified as a daily quota.
const LONG: Duration = Duration::from_secs(2 * 60 * 60);

/// The kind of limit for which a provider rejected a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThrottleReason {
    /// Too many requests or tokens in a short time: wait.
    Rate,
    /// Too many requests or tokens in a day or a month: no reasonable wait helps.
    Day,
    /// The credit or the spending limit is used up.
    QuotaExhausted,
    /// The request is larger than the limit: no wait helps.
    TooLarge,
    /// Too many concurrent requests.
    Concurrency,
    /// The load rose too fast.
    Ramp,
    /// The provider is overloaded, independently of the client's limits.
    Capacity,
}

/// An error response for an exceeded limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitError {
    pub(crate) class: ThrottleReason,
    /// The wait, from the most specific source: a header, a field of the body, the reset of a limit
    /// that is used up, the message.
    pub(crate) retry_after: Option<Duration>,
    /// The provider's code or type, as one line of at most 200 characters.
    pub(crate) code: Option<Box<str>>,
    /// The provider's message, as one line of at most 200 characters.
    pub(crate) message: Option<Box<str>>,
}

// ===== impl ThrottleReason =====

impl ThrottleReason {
    /// Classifies a response; returns `None` if it is not a rejection.
    ///
    /// Statuses 402, 429, 498, 503 and 529 are rejections, and 403 if the response is about a
    /// limit. The body may be empty, truncated, or not JSON.
    #[must_use]
    pub fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        LimitError::read(status, headers, body).map(|error| error.class)
    }

    /// Returns a stable label, as for metrics: `rate`, `day`, `quota_exhausted`, `too_large`,
    /// `concurrency`, `ramp` or `capacity`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Day => "day",
            Self::QuotaExhausted => "quota_exhausted",
            Self::TooLarge => "too_large",
            Self::Concurrency => "concurrency",
            Self::Ramp => "ramp",
            Self::Capacity => "capacity",
        }
    }

    /// Returns `true` if no retry can succeed.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Day | Self::QuotaExhausted | Self::TooLarge)
    }
}

// ===== impl LimitError =====

impl LimitError {
    /// Reads an error response; returns `None` if it is not about a limit.
    ///
    /// Statuses 402, 429, 498, 503 and 529 are, and 403 if the response is about a limit. The body
    /// may be empty, truncated, or not JSON. A compressed body counts as empty.
    pub(crate) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Option<Self> {
        Self::of(status, headers, &ErrorBody::read(body, headers))
    }

    pub(super) fn of(status: StatusCode, headers: &HeaderMap, error: &ErrorBody) -> Option<Self> {
        if !Self::has(status) {
            return None;
        }
        let limits = match RateLimits::from_headers(headers) {
            limits if limits.is_empty() => RateLimits::from_headers(&error.headers),
            limits => limits,
        };
        let hint = Hint::from_headers(headers).retry_after();
        let is_limit = hint.is_some() || limits.used_up().next().is_some() || error.is_of_limits();
        if status == StatusCode::FORBIDDEN && !is_limit {
            return None;
        }
        let class = class(status, error, &limits);
        let retry_after = hint.or_else(|| wait(class, error, &limits));
        let class = match class {
            // A daily quota that refills continuously.
            ThrottleReason::Day
                if error.is_daily != Some(true)
                    && retry_after.is_some_and(|wait| wait <= BEARABLE) =>
            {
                ThrottleReason::Rate
            }
            class => class,
        };
        Some(Self {
            class,
            retry_after,
            code: error.codes.first().and_then(|code| line(code)),
            message: error.message.as_deref().and_then(line),
        })
    }

    /// Returns `true` if a response with that status may be a rejection.
    pub(crate) fn has(status: StatusCode) -> bool {
        use Outcome::{Overloaded, QuotaExhausted, RateLimited};
        let outcome = Outcome::of_status(status);
        matches!(outcome, QuotaExhausted | RateLimited | Overloaded)
            || status == StatusCode::FORBIDDEN
    }
}

/// Classifies by the explicit reason first and by the status last.
fn class(status: StatusCode, error: &ErrorBody, limits: &RateLimits) -> ThrottleReason {
    if status == StatusCode::PAYMENT_REQUIRED || error.has_code(codes::MONEY_CODES) {
        return ThrottleReason::QuotaExhausted;
    }
    if error.is_daily == Some(true) {
        return ThrottleReason::Day;
    }
    if codes::is_too_large(&error.words) {
        return ThrottleReason::TooLarge;
    }
    if error.has_code(&["slow down"]) || error.mentions(&["acceleration"]) {
        return ThrottleReason::Ramp;
    }
    let is_overload = Outcome::of_status(status) == Outcome::Overloaded;
    if is_overload || error.mentions(codes::CAPACITY_WORDS) {
        return ThrottleReason::Capacity;
    }
    let in_flight = |limit: &Reported| limit.dimension == Dimension::Concurrency;
    if error.mentions(&["concurren"]) || limits.used_up().any(in_flight) {
        return ThrottleReason::Concurrency;
    }
    // If the quota is named, its message repeats the name or is about other plans.
    let in_words = error.is_daily.is_none() && codes::is_day(&error.words);
    if in_words || limits.used_up().any(is_of_a_day) {
        return ThrottleReason::Day;
    }
    ThrottleReason::Rate
}

/// Returns the wait if no dedicated header names one.
fn wait(class: ThrottleReason, error: &ErrorBody, limits: &RateLimits) -> Option<Duration> {
    // A daily quota comes with a wait of seconds, after which the response is the same.
    let counts = error.is_daily != Some(true);
    // An overload says nothing about the limits.
    let is_of_limits = class != ThrottleReason::Capacity;
    let reset = || limits.reset().filter(|_| is_of_limits);
    let in_words = || codes::wait(&error.words);
    error
        .retry_delay
        .filter(|_| counts)
        .or_else(reset)
        .or_else(|| in_words().filter(|_| counts))
}

fn is_of_a_day(limit: &Reported) -> bool {
    limit.period.is_some_and(|period| period >= DAY)
        || limit.reset.is_some_and(|reset| reset > LONG)
}

/// Returns one line of at most 200 characters, for a log or a terminal: anybody may have written
/// the text.
fn line(text: &str) -> Option<Box<str>> {
    const MOST: usize = 200;
    let words = text.split(is_gap).filter(|word| !word.is_empty());
    let spaced = words.flat_map(|word| [" ", word]).flat_map(str::chars);
    let line: String = spaced.skip(1).take(MOST).collect();
    let line = line.trim_end();
    (!line.is_empty()).then(|| line.into())
}

/// Returns `true` for white space, and for what is not seen but moves, hides or reorders what is.
fn is_gap(character: char) -> bool {
    let is_format = matches!(
        character,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    is_format || character.is_whitespace() || character.is_control()
}
