//! Parses waits: `retry-after-ms`, vendor headers, and `Retry-After`.
//!
//! RFC 9110 §10.2.3: `Retry-After = HTTP-date / delay-seconds`, and `delay-seconds = 1*DIGIT`.
//! Fractions, as some vendors send, are accepted. Nothing is capped.
//!
//! A value is ignored if it is empty, has a sign, an exponent or a unit, or is an invalid date. Of
//! several values, in one line or in more, the longest wait counts.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header::RETRY_AFTER};

use super::{date, date::Now, decimal, decimal::decimal};

/// gRPC's equivalent. A negative or invalid one forbids a retry.
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

const MILLISECONDS: [HeaderName; 4] = [
    HeaderName::from_static("retry-after-ms"),
    HeaderName::from_static("x-ms-retry-after-ms"),
    HeaderName::from_static("x-amz-retry-after"),
    PUSHBACK,
];

/// Returns the wait in the headers; a date is compared with the `Date` header, or else with `now`.
pub(super) fn wait(headers: &HeaderMap, now: Now<'_>) -> Option<Duration> {
    let milliseconds = |text: &str| decimal(text, decimal::MILLISECOND);
    let until = |date| date::until(date, headers, now);
    let seconds =
        |text: &str| decimal(text, decimal::SECOND).or_else(|| date::date(text, now).map(until));
    let in_milliseconds = |name| values(headers, name).filter_map(milliseconds).max();
    let wait = MILLISECONDS.iter().find_map(in_milliseconds);
    wait.or_else(|| values(headers, &RETRY_AFTER).filter_map(seconds).max())
}

/// Returns whether gRPC's pushback requests or forbids a retry (gRFC A6); `None` without one.
pub(super) fn pushback(headers: &HeaderMap) -> Option<bool> {
    let wait = |value| decimal(text(value)?, decimal::MILLISECOND);
    let values = headers.get_all(&PUSHBACK).iter();
    let requests = values.map(|value| wait(value).is_some());
    requests.reduce(|all, requests| all && requests)
}

/// Returns the values of a header, also of values that a proxy has joined in one line.
///
/// A date contains a comma, so each two neighbours are one value as well.
fn values<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).iter().filter_map(text);
    lines.flat_map(|line| {
        let commas = line.match_indices(',').map(|(at, _)| at + 1);
        std::iter::once(0).chain(commas).flat_map(|start| {
            let rest = &line[start..];
            let ends = rest.match_indices(',').map(|(at, _)| at);
            let ends = ends.chain([rest.len()]).take(2);
            ends.map(|end| rest[..end].trim())
        })
    })
}

fn text(value: &HeaderValue) -> Option<&str> {
    Some(value.to_str().ok()?.trim())
}

/// Returns whole seconds, rounded up, so that a wait is never too short.
pub(crate) fn seconds_begun(time: Duration) -> u64 {
    let part = u64::from(time.subsec_nanos() > 0);
    time.as_secs().saturating_add(part)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use proptest::prelude::*;

    use super::*;

    /// Sunday, 06 November 1994, 08:49:37 GMT.
    const NOW: u64 = 784_111_777;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    type Field = (&'static str, &'static [u8]);

    fn read(fields: &[(&'static str, &[u8])]) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_bytes(value).unwrap());
        }
        wait(&headers, &|| at(NOW))
    }

    const fn s(seconds: u64) -> Option<Duration> {
        Some(Duration::from_secs(seconds))
    }

    const fn ms(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn retry_after_alone() {
        let table: &[(&[u8], Option<Duration>)] = &[
            // Seconds.
            (b"120", s(120)),
            (b"0", s(0)),
            (b"000007", s(7)),
            (b" 7\t", s(7)),
            (b"18446744073709551615", s(u64::MAX)),
            (b"18446744073709551616", s(u64::MAX)),
            (&[b'9'; 4_000], s(u64::MAX)),
            // Fractions.
            (b"1.5", ms(1_500)),
            (b"0.020", ms(20)),
            (b"1.", s(1)),
            (b".5", ms(500)),
            (b"0.0000000001", Some(Duration::from_nanos(1))),
            (b"0.9999999999", s(1)),
            (b"0.00000000000", s(0)),
            (
                b"18446744073709551615.9",
                Some(Duration::new(u64::MAX, 900_000_000)),
            ),
            // Dates.
            (b"Sun, 06 Nov 1994 08:50:37 GMT", s(60)),
            (b"Sunday, 06-Nov-94 08:50:37 GMT", s(60)),
            (b"Sun Nov  6 08:50:37 1994", s(60)),
            (b"Sun, 06 Nov 1994 08:49:37 GMT", s(0)),
            (b"Sun, 06 Nov 1994 08:49:36 GMT", s(0)),
            (b"Thu, 01 Jan 1970 00:00:00 GMT", s(0)),
            (b"Fri, 31 Dec 9999 23:59:59 GMT", s(253_402_300_799 - NOW)),
            // The grammar allows a leap second in every minute.
            (b"Sun, 06 Nov 1994 08:49:60 GMT", s(23)),
            (b"Sunday, 06-Nov-94 08:49:60 GMT", s(23)),
            (b"Sun Nov  6 08:49:60 1994", s(23)),
            (b"Fri, 31 Dec 9999 23:59:60 GMT", s(253_402_300_800 - NOW)),
            (b"Sun, 06 Nov 1994 08:60:37 GMT", None),
            (b"Sun, 06 Nov 1994 08:49:61 GMT", None),
            // Two-digit years: 2044 is 50 years away. 2045 is more, so these are 1945 and 1980;
            // dates before 1970 are rejected.
            (b"Sunday, 06-Nov-44 08:49:37 GMT", s(1_577_923_200)),
            (b"Monday, 06-Nov-45 08:49:37 GMT", None),
            (b"Wednesday, 06-Nov-68 08:49:37 GMT", None),
            (b"Thursday, 06-Nov-80 08:49:37 GMT", s(0)),
            // Invalid dates.
            (b"Mon, 06 Nov 1994 08:49:37 GMT", None),
            (b"Thu, 31 Feb 1994 08:49:37 GMT", None),
            (b"Sun, 06 Nov 1994 25:49:37 GMT", None),
            (b"Sun, 06 Nov 1994 08:49:37 UTC", None),
            (b"Sun, 06 Nov 1994 08:49:37", None),
            (b"1994-11-06T08:49:37Z", None),
            (b"Sunday, 06-Nov-1994 08:49:37 GMT", None),
            // Garbage.
            (b"", None),
            (b"   ", None),
            (b".", None),
            (b"-1", None),
            (b"-0", None),
            (b"+5", None),
            (b"120s", None),
            (b"1m", None),
            (b"1 2", None),
            (b"1.2.3", None),
            (b"5 10", None),
            (b"0x10", None),
            (b"1e3", None),
            (b"1e400", None),
            (b"NaN", None),
            (b"inf", None),
            (b"-infinity", None),
            (b"\"5\"", None),
            (b"soon", None),
            (b":60", None),
            (b"\xc2\xb2", None),
            (b"\xd9\xa3\xd9\xa0", None),
            (b"5\xff", None),
            (b"Sunday, \xe9\xe9-Nov-94 08:49:37 GMT", None),
        ];
        for (value, expected) in table {
            let got = read(&[("retry-after", value)]);
            assert_eq!(got, *expected, "{:?}", String::from_utf8_lossy(value));
        }
    }

    #[test]
    fn valid_milliseconds_come_first() {
        let table: &[(&[Field], Option<Duration>)] = &[
            (&[], None),
            (&[("retry-after-ms", b"1500")], ms(1_500)),
            (
                &[("retry-after-ms", b"0.5")],
                Some(Duration::from_micros(500)),
            ),
            (
                &[("retry-after-ms", b"0.0000001")],
                Some(Duration::from_nanos(1)),
            ),
            (
                &[("retry-after-ms", b"999999999999999999999999999999")],
                Some(Duration::new(u64::MAX / 1_000, 615_000_000)),
            ),
            (
                &[("retry-after", b"2"), ("retry-after-ms", b"1500")],
                ms(1_500),
            ),
            (&[("retry-after", b"2"), ("retry-after-ms", b"0")], s(0)),
            (&[("retry-after", b"2"), ("retry-after-ms", b"-1")], s(2)),
            (&[("retry-after", b"2"), ("retry-after-ms", b"NaN")], s(2)),
            (&[("x-ms-retry-after-ms", b"40")], ms(40)),
            (
                &[("x-ms-retry-after-ms", b"40"), ("retry-after-ms", b"30")],
                ms(30),
            ),
            (
                &[("x-ms-retry-after-ms", b"40"), ("retry-after-ms", b"?")],
                ms(40),
            ),
            (&[("x-ms-retry-after-ms", b""), ("retry-after", b"3")], s(3)),
            (&[("x-amz-retry-after", b"250")], ms(250)),
            (&[("grpc-retry-pushback-ms", b"75")], ms(75)),
            (
                &[
                    ("x-amz-retry-after", b"250"),
                    ("x-ms-retry-after-ms", b"40"),
                ],
                ms(40),
            ),
            (
                &[
                    ("grpc-retry-pushback-ms", b"75"),
                    ("x-amz-retry-after", b"250"),
                ],
                ms(250),
            ),
            (
                &[("retry-after", b"9"), ("grpc-retry-pushback-ms", b"75")],
                ms(75),
            ),
            (&[("retry-after", b"9"), ("x-amz-retry-after", b"?")], s(9)),
            (
                &[("retry-after", b"9"), ("grpc-retry-pushback-ms", b"-1")],
                s(9),
            ),
            // Repeated, in one line or in more: the longest valid value.
            (&[("retry-after", b"5, 50")], s(50)),
            (&[("retry-after", b"50,5")], s(50)),
            (&[("retry-after", b"soon, 5, , 7, -9")], s(7)),
            (&[("retry-after", b"5, 50"), ("retry-after", b"7")], s(50)),
            (
                &[("retry-after", b"5, Sun, 06 Nov 1994 08:50:37 GMT, 50")],
                s(60),
            ),
            (&[("retry-after", b"Sun Nov  6 08:50:37 1994, 5")], s(60)),
            (
                &[(
                    "retry-after",
                    b"Sunday, 06-Nov-94 08:50:37 GMT, Sun, 06 Nov 1994 08:51:37 GMT",
                )],
                s(120),
            ),
            (&[("retry-after-ms", b"5, 50")], ms(50)),
            (&[("x-ms-retry-after-ms", b"?, 50, 5")], ms(50)),
            (&[("retry-after", b"5"), ("retry-after", b"10")], s(10)),
            (&[("retry-after", b"10"), ("retry-after", b"5")], s(10)),
            (&[("retry-after", b"soon"), ("retry-after", b"5")], s(5)),
            (
                &[
                    ("retry-after", b"5"),
                    ("retry-after", b"Sun, 06 Nov 1994 08:50:37 GMT"),
                ],
                s(60),
            ),
        ];
        for (fields, expected) in table {
            assert_eq!(read(fields), *expected, "{fields:?}");
        }
    }

    #[test]
    fn dates_are_relative_to_the_date_header() {
        const THEN: &[u8] = b"Sun, 06 Nov 1994 08:50:37 GMT";
        let table: &[(&[u8], Option<Duration>)] = &[
            // A server clock that is behind, ahead, or years off.
            (b"Sun, 06 Nov 1994 07:50:37 GMT", s(3_600)),
            (b"Sun, 06 Nov 1994 09:50:37 GMT", s(0)),
            (b"Thu, 06 Nov 1980 08:50:37 GMT", s(441_763_200)),
            (b"Sunday, 06-Nov-94 08:50:07 GMT", s(30)),
            (b"Sun Nov  6 08:50:07 1994", s(30)),
            (b"Sun, 06 Nov 1994 08:49:60 GMT", s(37)),
            // An invalid `Date`: use the wall clock.
            (b"now", s(60)),
            (b"", s(60)),
            (b"\xff", s(60)),
            (b"-5", s(60)),
        ];
        for (sent, expected) in table {
            let got = read(&[("retry-after", THEN), ("date", sent)]);
            assert_eq!(got, *expected, "{:?}", String::from_utf8_lossy(sent));
        }
        // The response was in a cache.
        for (age, expected) in [
            ("60", s(3_540)),
            ("60, 5", s(3_540)),
            ("4000", s(0)),
            ("99999999999999999999999", s(0)),
            ("-60", s(3_600)),
            ("old", s(3_600)),
        ] {
            let sent: Field = ("date", b"Sun, 06 Nov 1994 07:50:37 GMT");
            let got = read(&[("retry-after", THEN), sent, ("age", age.as_bytes())]);
            assert_eq!(got, expected, "{age:?}");
        }
        // Without a `Date`, the wall clock has counted that time.
        assert_eq!(read(&[("retry-after", THEN), ("age", b"30")]), s(60));
        // Seconds count from the arrival of the response (RFC 9110 §10.2.3).
        assert_eq!(read(&[("retry-after", b"60"), ("age", b"30")]), s(60));
        // Seconds don't need a `Date`.
        let sent: Field = ("date", b"Sun, 06 Nov 1994 07:50:37 GMT");
        let seconds: Field = ("retry-after", b"60");
        assert_eq!(read(&[seconds, sent]), s(60));
    }

    proptest! {
        #[test]
        fn nothing_panics(
            value in proptest::collection::vec(any::<u8>(), 0..40),
            sent in "[ -~]{0,30}",
            year in 0_u64..253_402_300_800,
        ) {
            let mut headers = HeaderMap::new();
            if let (Ok(value), Ok(sent)) =
                (HeaderValue::from_bytes(&value), HeaderValue::from_str(&sent))
            {
                for name in ["retry-after", "retry-after-ms", "date"] {
                    headers.append(name, value.clone());
                    headers.append(name, sent.clone());
                }
                let _ = wait(&headers, &|| at(year));
            }
        }

        #[test]
        fn every_rendered_date_is_read_back(seconds in NOW..253_402_300_800) {
            let text = httpdate::fmt_http_date(at(seconds));
            prop_assert_eq!(read(&[("retry-after", text.as_bytes())]), s(seconds - NOW));
        }

        #[test]
        fn every_decimal_is_read_to_the_nanosecond(seconds: u64, nanos in 0_u32..1_000_000_000) {
            let text = format!("{seconds}.{nanos:09}");
            let expected = Duration::new(seconds, nanos);
            prop_assert_eq!(read(&[("retry-after", text.as_bytes())]), Some(expected));
        }
    }
}
