//! The headers that say how much is left, and how long to wait.

mod anthropic;
mod date;
mod openai;

use std::{
    fmt::Display,
    time::{Duration, SystemTime},
};

use axum::http::{HeaderMap, HeaderName, HeaderValue};

pub(super) use self::openai::go_duration;
use super::{
    allowance::Left,
    ledger::{Rejection, Standing},
    style::{RateHeaders, Style},
};

/// Sets the headers of this style: what is left on each response, and how long to wait on a
/// rejection.
pub(super) fn set(
    headers: &mut HeaderMap,
    style: Style,
    standing: &Standing,
    refusal: Option<&Rejection>,
) {
    match style.headers {
        RateHeaders::OpenAi => openai::set(headers, standing, style.rounding),
        RateHeaders::Anthropic => {
            anthropic::set(headers, standing, style.rounding, date::now());
        }
        RateHeaders::None => {}
    }
    match refusal {
        Some(Rejection::Limited { retry_after, .. }) if style.retry_after => {
            set_wait(headers, style, *retry_after);
        }
        Some(Rejection::TooLarge(_)) if style.headers != RateHeaders::None => {
            put(headers, "x-should-retry", "false");
        }
        _ => {}
    }
}

/// Sets the date of the response, which is on the same clock as the dates in the other headers.
pub(super) fn set_date(headers: &mut HeaderMap) {
    let date = SystemTime::UNIX_EPOCH + date::now();
    put(headers, "date", httpdate::fmt_http_date(date));
}

/// Sets how long to wait.
pub(super) fn set_wait(headers: &mut HeaderMap, style: Style, wait: Duration) {
    let millis = millis(wait).max(1);
    put(headers, "retry-after", millis.div_ceil(1_000));
    if style.headers == RateHeaders::OpenAi {
        put(headers, "retry-after-ms", millis);
    }
}

/// Sets the three headers of a limit, if there is one.
fn put_left(
    headers: &mut HeaderMap,
    left: Option<Left>,
    name: impl Fn(&str) -> String,
    reset: impl Fn(Duration) -> String,
) {
    if let Some(left) = left {
        put(headers, &name("limit"), left.limit);
        put(headers, &name("remaining"), left.remaining);
        put(headers, &name("reset"), reset(left.reset));
    }
}

/// Sets a header, if it is one.
pub(super) fn put(headers: &mut HeaderMap, name: &str, value: impl Display) {
    if let (Ok(name), Ok(value)) = (
        HeaderName::try_from(name),
        HeaderValue::try_from(value.to_string()),
    ) {
        headers.insert(name, value);
    }
}

/// Whole milliseconds, rounded up, so that a client never comes too early.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
