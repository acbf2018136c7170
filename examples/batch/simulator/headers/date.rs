//! Dates as RFC 3339 writes them.

use std::{
    sync::OnceLock,
    time::{Duration, SystemTime},
};

use tokio::time::Instant;

/// The time since 1970: on a paused clock it passes as on that.
#[expect(
    clippy::disallowed_methods,
    reason = "a date in a header is a date of the wall clock"
)]
pub(super) fn now() -> Duration {
    static START: OnceLock<(Instant, SystemTime)> = OnceLock::new();
    let (start, date) = START.get_or_init(|| (Instant::now(), SystemTime::now()));
    let now = *date + start.elapsed();
    now.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// A date in UTC, in whole seconds rounded up, so that a client never comes too early.
///
/// The year 9999 ends the dates of four digits, and these.
pub(super) fn rfc3339(since_1970: Duration) -> String {
    let whole = since_1970.saturating_add(Duration::from_nanos(999_999_999));
    let whole = Duration::from_secs(whole.as_secs());
    let date = jiff::civil::datetime(1970, 1, 1, 0, 0, 0, 0).saturating_add(whole);
    format!("{date:.0}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar_and_rounded_up() {
        for (seconds, nanos, expected) in [
            (0, 0, "1970-01-01T00:00:00Z"),
            (0, 1, "1970-01-01T00:00:01Z"),
            (951_782_399, 0, "2000-02-28T23:59:59Z"),
            (951_782_399, 1, "2000-02-29T00:00:00Z"),
            (951_868_800, 0, "2000-03-01T00:00:00Z"),
            (1_000_000_000, 0, "2001-09-09T01:46:40Z"),
            (1_798_761_599, 999_999_999, "2027-01-01T00:00:00Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00Z"),
            (253_402_300_799, 0, "9999-12-31T23:59:59Z"),
            (u64::MAX, 999_999_999, "9999-12-31T23:59:59Z"),
        ] {
            assert_eq!(rfc3339(Duration::new(seconds, nanos)), expected);
        }
    }

    #[test]
    fn a_date_that_is_written_is_read_as_the_same_by_another() {
        for n in 0..20_000_u64 {
            let seconds = n * 12_345_678;
            let then = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
            let http = httpdate::fmt_http_date(then);
            let date = rfc3339(Duration::from_secs(seconds));
            assert_eq!(http[5..7], date[8..10], "{date}");
            assert_eq!(http[12..16], date[..4], "{date}");
            assert_eq!(http[17..25], date[11..19], "{date}");
        }
    }
}
