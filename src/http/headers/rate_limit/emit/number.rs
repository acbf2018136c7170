//! Integers in header fields.

use std::time::{Duration, SystemTime};

use crate::http::headers::retry_after::seconds_begun;

/// The largest integer of a structured field, which has 15 digits (RFC 9651 §3.3.1).
pub(super) const MOST: u64 = 999_999_999_999_999;

/// Returns whole seconds, rounded up and saturated.
pub(super) fn seconds(time: Duration) -> u64 {
    seconds_begun(time).min(MOST)
}

/// Returns the seconds since the Unix epoch at the end of `wait`.
pub(super) fn epoch(now: SystemTime, wait: Duration) -> u64 {
    let passed = now.duration_since(SystemTime::UNIX_EPOCH);
    seconds(passed.unwrap_or_default().saturating_add(wait))
}

#[cfg(test)]
mod tests {
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
}
