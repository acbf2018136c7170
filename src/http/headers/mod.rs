//! Parses and writes headers. Invalid values are ignored, and nothing is capped.

pub(crate) mod date;
mod decimal;
pub(crate) mod duration;
pub(crate) mod encoding;
pub(crate) mod quoted_string;
pub(crate) mod rate_limit;
pub(crate) mod retry_after;

use std::time::SystemTime;

use http::{HeaderMap, HeaderName};

use crate::http::hint::Hint;

const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

impl Hint {
    /// Reads the hints about retries in `headers`.
    ///
    /// - Wait: `retry-after-ms`, else `x-ms-retry-after-ms`, `x-amz-retry-after` or
    ///   `grpc-retry-pushback-ms` (all in milliseconds), else `Retry-After`. If a header is
    ///   repeated, or has several values, the longest wait counts.
    /// - Retry: `x-should-retry`. If it is repeated, `false` wins. A `grpc-retry-pushback-ms` is
    ///   `true`, or `false` if it is negative or invalid.
    ///
    /// `Retry-After` may be a number of seconds, with a fraction, or any of the three forms of an
    /// HTTP-date. A date is compared with the response's own `Date` header plus its `Age`, so that
    /// the clocks need not agree. The wall clock is read only if there is a date and no `Date`
    /// header.
    ///
    /// The reset of a rate limit is no hint by itself. A retry waits for it after a 429 or 403 by a
    /// limit that is used up.
    ///
    /// A number that is too large saturates. Other values, such as negative numbers, are ignored.
    #[must_use]
    pub fn from_headers(headers: &HeaderMap) -> Self {
        Self::read(headers, &date::wall)
    }

    /// Like [`Hint::from_headers`], with `now` instead of the wall clock.
    #[must_use]
    pub fn from_headers_at(headers: &HeaderMap, now: SystemTime) -> Self {
        Self::read(headers, &|| now)
    }

    fn read(headers: &HeaderMap, now: &dyn Fn() -> SystemTime) -> Self {
        Self::new(retry_after::wait(headers, now), should_retry(headers))
    }
}

fn should_retry(headers: &HeaderMap) -> Option<bool> {
    let says = |word| list(headers, &SHOULD_RETRY).any(|value| value.eq_ignore_ascii_case(word));
    let pushback = retry_after::pushback(headers);
    if says(b"false") || pushback == Some(false) {
        return Some(false);
    }
    says(b"true").then_some(true).or(pushback)
}

/// Returns the members of a header that is a list.
pub(crate) fn list<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a [u8]> {
    let lines = headers.get_all(name).into_iter();
    let members = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b','));
    members.map(<[u8]>::trim_ascii)
}

/// Parses digits. A number that is too large is the largest.
pub(crate) fn integer(digits: &[u8]) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    let digits = std::str::from_utf8(digits).ok().filter(|_| is_number)?;
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn should_retry_is_read_and_a_false_counts() {
        for (values, expected) in [
            (&[][..], None),
            (&["true"], Some(true)),
            (&[" False "], Some(false)),
            (&["yes"], None),
            (&["1"], None),
            (&[""], None),
            (&["true", "false"], Some(false)),
            (&["true, false"], Some(false)),
            (&["maybe,true"], Some(true)),
            (&["maybe", "true"], Some(true)),
        ] {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(SHOULD_RETRY, HeaderValue::from_static(value));
            }
            let hint = Hint::from_headers(&headers);
            assert_eq!(hint.should_retry(), expected, "{values:?}");
            assert_eq!(hint.retry_after(), None);
        }
    }

    #[test]
    fn pushback_requests_or_forbids_retries() {
        for (pushback, should_retry, expected) in [
            ("-1", None, Some(false)),
            (" -0.5", None, Some(false)),
            ("-99999999999999999999999", None, Some(false)),
            ("-1", Some("true"), Some(false)),
            ("5, -1", Some("true"), Some(false)),
            ("5", None, Some(true)),
            ("5", Some("true"), Some(true)),
            ("-", None, Some(false)),
            ("-x", None, Some(false)),
            ("--1", None, Some(false)),
            ("", None, Some(false)),
            ("soon", Some("true"), Some(false)),
            ("5, 6", None, Some(false)),
            ("5", Some("false"), Some(false)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("grpc-retry-pushback-ms", HeaderValue::from_static(pushback));
            if let Some(value) = should_retry {
                headers.insert(SHOULD_RETRY, HeaderValue::from_static(value));
            }
            let hint = Hint::from_headers(&headers);
            assert_eq!(hint.should_retry(), expected, "{pushback:?}");
        }
    }

    #[test]
    fn wall_clock_is_read_only_without_a_date_header() {
        let never = || -> SystemTime { panic!("the clock was read") };
        let mut headers = HeaderMap::new();
        assert_eq!(Hint::read(&headers, &never), Hint::default());
        headers.insert("retry-after", HeaderValue::from_static("30"));
        assert!(Hint::read(&headers, &never).retry_after().is_some());
        let date = HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT");
        headers.insert("retry-after", date.clone());
        headers.insert("date", date);
        assert!(Hint::read(&headers, &never).retry_after().is_some());
        headers.remove("date");
        // Without one it is: the date has passed.
        assert_eq!(
            Hint::from_headers(&headers).retry_after(),
            Some(std::time::Duration::ZERO)
        );
    }

    #[test]
    fn only_digits_are_a_number() {
        for text in ["", "-1", "+1", "1.0", " 1", "1 ", "0x1", "one"] {
            assert_eq!(integer(text.as_bytes()), None, "{text:?}");
        }
        assert_eq!(integer(b"007"), Some(7));
        assert_eq!(integer(b"99999999999999999999999"), Some(u64::MAX));
    }

    proptest! {
        #[test]
        fn every_number_is_read_back(number: u64) {
            prop_assert_eq!(integer(number.to_string().as_bytes()), Some(number));
        }
    }
}
