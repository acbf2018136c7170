//! Parses header values.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, HeaderValue};

use crate::http::headers::{date, date::Now, decimal, decimal::decimal, duration::duration};

/// From here on a number of seconds is an instant: as a wait it would be 31 years.
const EPOCH_SECONDS: u64 = 1_000_000_000;
/// From here on a number is an instant in milliseconds.
const EPOCH_MILLISECONDS: u64 = 1_000_000_000_000;

/// The response headers for their `Date`, and the clock as the fallback.
pub(super) struct Moment<'a> {
    pub(super) headers: &'a HeaderMap,
    pub(super) now: Now<'a>,
}

pub(super) fn text(value: &HeaderValue) -> Option<&str> {
    // `to_str` would reject the micro sign.
    Some(std::str::from_utf8(value.as_bytes()).ok()?.trim())
}

/// Returns all lines of a field joined, as structured fields require.
pub(super) fn joined(headers: &HeaderMap, name: &'static str) -> Option<String> {
    let lines: Option<Vec<&str>> = headers.get_all(name).iter().map(text).collect();
    Some(lines?.join(", "))
}

/// Parses the whole part of a number, saturating.
pub(super) fn count(text: &str) -> Option<i128> {
    let number = text.strip_prefix('-').unwrap_or(text);
    let count = decimal(number, decimal::SECOND).filter(|_| !number.starts_with('.'))?;
    let is_negative = number.len() < text.len();
    let count = i128::from(count.as_secs());
    Some(if is_negative { -1 } else { count })
}

/// Parses an RFC 3339 timestamp.
#[cfg(feature = "provider")]
fn timestamp(text: &str) -> Option<SystemTime> {
    SystemTime::try_from(text.parse::<jiff::Timestamp>().ok()?).ok()
}

#[cfg(not(feature = "provider"))]
fn timestamp(_: &str) -> Option<SystemTime> {
    None
}

// ===== impl Moment =====

impl Moment<'_> {
    /// Returns the time until a reset in any format. The formats don't overlap.
    pub(super) fn reset(&self, text: &str) -> Option<Duration> {
        if let Some(seconds) = decimal(text, decimal::SECOND) {
            return Some(self.number(text, seconds));
        }
        duration(text).or_else(|| {
            let then = timestamp(text).or_else(|| date::date(text, self.now))?;
            Some(date::until(then, self.headers, self.now))
        })
    }

    fn number(&self, text: &str, seconds: Duration) -> Duration {
        let since_1970 = match seconds.as_secs() {
            ..EPOCH_SECONDS => return seconds,
            EPOCH_SECONDS..EPOCH_MILLISECONDS => Some(seconds),
            EPOCH_MILLISECONDS.. => decimal(text, decimal::MILLISECOND),
        };
        let then = since_1970.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
        let until = |then| date::until(then, self.headers, self.now);
        then.map_or(Duration::MAX, until)
    }
}
