//! Integers in header fields.

use std::{
    str,
    time::{Duration, SystemTime},
};

use crate::http::headers::retry_after::seconds_begun;

/// The largest integer of a structured field, which has 15 digits (RFC 9651 §3.3.1).
pub(super) const MOST: u64 = 999_999_999_999_999;

/// Returns whole seconds, rounded up and saturated.
pub(super) fn seconds(time: Duration) -> u64 {
    seconds_begun(time).min(MOST)
}

/// Returns the seconds since the Unix epoch at the end of `wait`.
pub(super) fn epoch(now: SystemTime, wait: Duration) -> u64 {
    let passed = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    seconds(passed.saturating_add(wait))
}

/// Parses digits, saturating.
pub(super) fn parse(text: &[u8]) -> Option<u64> {
    let is_number = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    let digits = str::from_utf8(text).ok().filter(|_| is_number)?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_rounded_up_and_end() {
        assert_eq!(seconds(Duration::ZERO), 0);
        assert_eq!(seconds(Duration::from_nanos(1)), 1);
        assert_eq!(seconds(Duration::from_secs(1)), 1);
        assert_eq!(seconds(Duration::MAX), MOST);
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
        assert_eq!(epoch(before, Duration::from_millis(1_500)), 2);
        assert_eq!(epoch(SystemTime::UNIX_EPOCH, Duration::MAX), MOST);
    }

    #[test]
    fn only_digits_are_a_number() {
        for text in ["", "-1", "+1", "1.0", " 1", "1 ", "0x1", "one"] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(parse(b"007"), Some(7));
        assert_eq!(parse(b"99999999999999999999999"), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn every_number_is_read_back(number: u64) {
            prop_assert_eq!(parse(number.to_string().as_bytes()), Some(number));
        }
    }
}
