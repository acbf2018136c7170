//! Which limit an error is of.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::{body::ErrorBody, codes};
use crate::http::{Dimension, Hint, RateLimits, Reported, headers::rate_limit::limits::DAY};

/// A wait that the provider itself holds for worth its while.
const BEARABLE: Duration = Duration::from_secs(2 * 60);
/// Whoever is told to wait longer than this may as well come back another day.
const LONG: Duration = Duration::from_secs(2 * 60 * 60);
/// Anthropic's status for its own overload, which is in no registry.
const OVERLOADED: u16 = 529;

/// Which kind of limit the provider refused by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThrottleReason {
    /// Too many in a short time: wait as told.
    Rate,
    /// Too many in a day, or a month: no wait that a request can bear will help.
    Day,
    /// The money is spent, or a spending limit reached.
    QuotaExhausted,
    /// The request alone is more than the limit ever holds: no wait will help.
    TooLarge,
    /// Too many in flight.
    Concurrency,
    /// The load rose too fast.
    Ramp,
    /// The provider is overloaded; it says nothing of the caller's limits.
    Capacity,
}

/// An error response that says that a limit was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitError {
    pub(crate) class: ThrottleReason,
    /// How long to wait, by the most telling source that speaks: a header, the body's own field,
    /// the reset of a limit that is used up, the words of the message.
    pub(crate) retry_after: Option<Duration>,
    /// The provider's own code or type for it, its first 200 characters.
    pub(crate) code: Option<Box<str>>,
    /// The provider's own words, the first 200 characters of them.
    pub(crate) message: Option<Box<str>>,
}

// ===== impl ThrottleReason =====

impl ThrottleReason {
    /// What a refusal of a provider's means; `None` where the response is none.
    ///
    /// Statuses 402, 429, 503 and 529 are refusals, and 403 where something in it speaks of a
    /// limit. The body may be empty, cut anywhere, or not JSON.
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

    /// Whether no retry will mend it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Day | Self::QuotaExhausted | Self::TooLarge)
    }
}

// ===== impl LimitError =====

impl LimitError {
    /// Reads an error response; `None` if it says nothing of a limit.
    ///
    /// Statuses 402, 429, 503 and 529 do, and 403 if something in it speaks of a limit. The body
    /// may be empty, cut anywhere, or not JSON. One that is compressed is as if it were empty.
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
        let is_limit = hint.is_some() || used_up(&limits).next().is_some() || error.is_of_limits();
        if status == StatusCode::FORBIDDEN && !is_limit {
            return None;
        }
        let retry_after = hint.or_else(|| wait(error, &limits));
        let class = match class(status, error, &limits) {
            // A day's quota that refills as one watches.
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
            code: error.codes.first().and_then(|code| cut(code)),
            message: error.message.as_deref().and_then(cut),
        })
    }

    /// Whether an error response of that status may be one.
    pub(crate) fn has(status: StatusCode) -> bool {
        matches!(status.as_u16(), 402 | 403 | 429 | 503 | OVERLOADED)
    }
}

/// By what is said in so many words first, and by the status last.
fn class(status: StatusCode, error: &ErrorBody, limits: &RateLimits) -> ThrottleReason {
    if status == StatusCode::PAYMENT_REQUIRED || error.has_code(codes::MONEY) {
        return ThrottleReason::QuotaExhausted;
    }
    if error.is_daily == Some(true) {
        return ThrottleReason::Day;
    }
    if codes::is_too_large(&error.words) {
        return ThrottleReason::TooLarge;
    }
    if error.mentions(codes::RAMP_WORDS) {
        return ThrottleReason::Ramp;
    }
    let is_overload = matches!(status.as_u16(), 503 | OVERLOADED);
    if is_overload || error.mentions(codes::CAPACITY_WORDS) {
        return ThrottleReason::Capacity;
    }
    let in_flight = |limit: &Reported| limit.dimension == Dimension::Concurrency;
    if error.mentions(codes::CONCURRENCY_WORDS) || used_up(limits).any(in_flight) {
        return ThrottleReason::Concurrency;
    }
    // Where the quota has a name the message repeats what that says, or speaks of other plans.
    let in_words = error.is_daily.is_none() && codes::is_day(&error.words);
    if in_words || used_up(limits).any(is_of_a_day) {
        return ThrottleReason::Day;
    }
    ThrottleReason::Rate
}

/// What headers that were made for it do not say.
fn wait(error: &ErrorBody, limits: &RateLimits) -> Option<Duration> {
    // With a quota of a day comes a wait of seconds, after which the answer is the same.
    let counts = error.is_daily != Some(true);
    let reset = || used_up(limits).filter_map(|limit| limit.reset).max();
    let in_words = || codes::wait(&error.words);
    error
        .retry_delay
        .filter(|_| counts)
        .or_else(reset)
        .or_else(|| in_words().filter(|_| counts))
}

fn used_up(limits: &RateLimits) -> impl Iterator<Item = &Reported> {
    limits.iter().filter(|limit| limit.remaining == Some(0))
}

fn is_of_a_day(limit: &Reported) -> bool {
    limit.period.is_some_and(|period| period >= DAY)
        || limit.reset.is_some_and(|reset| reset > LONG)
}

fn cut(text: &str) -> Option<Box<str>> {
    const MOST: usize = 200;
    let text: String = text.trim().chars().take(MOST).collect();
    (!text.is_empty()).then(|| text.into())
}
