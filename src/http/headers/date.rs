//! HTTP-dates and the time until an instant (RFC 9110 §5.6.7).

use std::time::{Duration, SystemTime};

use http::{
    HeaderMap,
    header::{AGE, DATE},
};

use super::{integer, list};

pub(crate) type Now<'a> = &'a dyn Fn() -> SystemTime;

/// The mean length of a Gregorian year.
const SECONDS_PER_YEAR: u64 = 31_556_952;

/// Reads the wall clock, for HTTP-dates.
#[allow(
    clippy::disallowed_methods,
    reason = "an HTTP-date is a date of the wall clock"
)]
pub(crate) fn wall() -> SystemTime {
    SystemTime::now()
}

/// Returns the time until `then`, from the response's `Date` plus its `Age`, or else from `now`;
/// zero if it has passed.
pub(crate) fn until(then: SystemTime, headers: &HeaderMap, now: Now<'_>) -> Duration {
    match sent(headers, now) {
        Some(sent) => since(sent, then).saturating_sub(age(headers)),
        None => since(now(), then),
    }
}

/// Returns the time at which the response was sent, by its `Date`.
pub(crate) fn sent(headers: &HeaderMap, now: Now<'_>) -> Option<SystemTime> {
    date(headers.get(DATE)?.to_str().ok()?.trim(), now)
}

/// Returns the time from `start` to `then`; zero if it has passed.
pub(crate) fn since(start: SystemTime, then: SystemTime) -> Duration {
    then.duration_since(start).unwrap_or_default()
}

/// Returns the time that a response spent in caches, by its `Age`; zero if that can't be read. Of a
/// list, the first member counts (RFC 9111 §5.1).
pub(crate) fn age(headers: &HeaderMap) -> Duration {
    let age = list(headers, &AGE).next().and_then(integer);
    Duration::from_secs(age.unwrap_or_default())
}

/// Parses an HTTP-date in any of its three forms, including leap seconds.
pub(crate) fn date(text: &str, now: Now<'_>) -> Option<SystemTime> {
    // The last colon precedes the seconds. `SystemTime` has no second 60.
    let last = text.rfind(':');
    let leaps = last.filter(|colon| text.get(*colon..colon + 3) == Some(":60"));
    if let Some(colon) = leaps {
        let before = format!("{}:59{}", &text[..colon], &text[colon + 3..]);
        return plain_date(&before, now)?.checked_add(Duration::from_secs(1));
    }
    plain_date(text, now)
}

fn plain_date(text: &str, now: Now<'_>) -> Option<SystemTime> {
    let full = with_century(text, now);
    httpdate::parse_http_date(full.as_deref().unwrap_or(text)).ok()
}

/// Converts an rfc850-date, whose year has two digits, to an IMF-fixdate.
///
/// RFC 9110 §5.6.7: a year that appears to be more than 50 years in the future is the most recent
/// one in the past with the same last two digits.
fn with_century(text: &str, now: Now<'_>) -> Option<String> {
    const DAYS: &str = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday";
    let (day, rest) = text.split_once(", ")?;
    let day = DAYS.split(' ').find(|name| *name == day)?;
    let (number, rest) = rest.split_once('-')?;
    let (month, rest) = rest.split_once('-')?;
    let (year, time) = rest.split_at_checked(2)?;
    let year: u64 = year.parse().ok()?;
    let since_epoch = now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    // Off by a day around new year, which does not matter at a distance of 50 years.
    let this_year = 1970 + since_epoch.as_secs() / SECONDS_PER_YEAR;
    let mut full = this_year - this_year % 100 + 100 + year;
    while full > this_year + 50 {
        full -= 100;
    }
    Some(format!("{}, {number} {month} {full:04}{time}", &day[..3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn an_age_that_cannot_be_read_is_none() {
        for (value, expected) in [
            ("17", 17),
            (" 1 ", 1),
            ("7, 9", 7),
            ("-1", 0),
            ("", 0),
            ("1.5", 0),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(AGE, http::HeaderValue::from_static(value));
            assert_eq!(age(&headers).as_secs(), expected, "{value:?}");
        }
    }

    #[test]
    fn two_digit_years() {
        let in_2099 = || at(4_070_908_800);
        let year_2100 = date("Friday, 01-Jan-00 00:00:00 GMT", &in_2099);
        assert_eq!(year_2100, Some(at(4_102_444_800)));
        let before_1970 = || SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let year_2000 = date("Saturday, 01-Jan-00 00:00:00 GMT", &before_1970);
        assert_eq!(year_2000, Some(at(946_684_800)));
    }
}
