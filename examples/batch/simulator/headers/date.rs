//! Dates as RFC 3339 writes them.

use std::time::{Duration, SystemTime};

/// The time since 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "a date in a header is a date of the wall clock"
)]
pub(super) fn now() -> Duration {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
}

/// A date in UTC, in whole seconds rounded up, so that a client never comes too early.
///
/// The far future, of which four digits of a year don't tell, is the end of the year 9999.
pub(super) fn rfc3339(since_1970: Duration) -> String {
    const LATEST: u64 = 253_402_300_799;
    let seconds = since_1970
        .as_secs()
        .saturating_add(u64::from(since_1970.subsec_nanos() > 0))
        .min(LATEST);
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// The year, month and day of a day after 1970.
fn civil(mut day: u64) -> (u64, u64, u64) {
    // 400 years always have as many days; the rest is short enough to be counted.
    let mut year = 1970 + day / 146_097 * 400;
    day %= 146_097;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let february = 28 + u64::from(is_leap(year));
    let mut month = 1;
    for days in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if day < days {
            break;
        }
        day -= days;
        month += 1;
    }
    (year, month, day + 1)
}

fn is_leap(year: u64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
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
