//! Decimal numbers as durations, exact to the nanosecond.

use std::time::Duration;

pub(super) const SECOND: u64 = 1_000_000_000;
pub(super) const MILLISECOND: u64 = 1_000_000;

/// Parses a decimal number without sign or exponent, in units of `unit` nanoseconds. Rounds up to a
/// whole nanosecond, so that a wait is never too short.
pub(super) fn decimal(text: &str, unit: u64) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if (whole.is_empty() && fraction.is_empty()) || !digits(whole) || !digits(fraction) {
        return None;
    }
    // Saturate if the number is too large.
    let number = |digits: &str| match digits {
        "" => 0,
        digits => digits.parse().unwrap_or(u64::MAX),
    };
    // Nine digits of the fraction count; any others round up.
    let (told, rest) = fraction.split_at(fraction.len().min(9));
    let billionths = number(told) * 10_u64.pow(9 - told.len() as u32)
        + u64::from(rest.bytes().any(|byte| byte != b'0'));
    let part = (u128::from(billionths) * u128::from(unit)).div_ceil(1_000_000_000);
    let nanos = u128::from(number(whole)) * u128::from(unit) + part;
    let seconds = nanos / u128::from(SECOND);
    Some(match u64::try_from(seconds) {
        Ok(seconds) => Duration::new(seconds, (nanos % u128::from(SECOND)) as u32),
        Err(_) => Duration::MAX,
    })
}
