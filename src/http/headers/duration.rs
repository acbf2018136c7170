//! Durations with units, such as `6m0s` and `2m59.56s`.

use std::time::Duration;

use super::{decimal, decimal::decimal};

const MINUTE: u64 = 60 * decimal::SECOND;

/// Parses a sum of numbers with units: days, and hours, minutes, seconds and less as Go writes
/// them, or in words as error messages do.
///
/// Returns `None` if the text is empty, has a sign, or has a number without a unit.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let is_of_number = |c: char| c.is_ascii_digit() || c == '.';
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let unit = rest.find(|c| !is_of_number(c))?;
        let (number, after) = rest.split_at(unit);
        let end = after.find(is_of_number).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        sum = sum.saturating_add(decimal(number, nanos(unit)?)?);
        rest = next;
    }
    (!text.is_empty()).then_some(sum)
}

fn nanos(unit: &str) -> Option<u64> {
    Some(match unit {
        "d" | "day" | "days" => 24 * 60 * MINUTE,
        "h" | "hr" | "hrs" | "hour" | "hours" => 60 * MINUTE,
        "m" | "min" | "mins" | "minute" | "minutes" => MINUTE,
        "s" | "sec" | "secs" | "second" | "seconds" => decimal::SECOND,
        "ms" | "msec" | "millisecond" | "milliseconds" => decimal::MILLISECOND,
        // The micro sign and the Greek letter mu.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1_000,
        "ns" => 1,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn numbers_with_units_add_up() {
        let table: &[(&str, Option<Duration>)] = &[
            ("1s", Some(Duration::from_secs(1))),
            ("6m0s", Some(Duration::from_secs(360))),
            ("17ms", Some(Duration::from_millis(17))),
            ("2m59.56s", Some(Duration::from_millis(179_560))),
            ("1h2m3s", Some(Duration::from_secs(3_723))),
            ("1.5h", Some(Duration::from_secs(5_400))),
            ("1d1s", Some(Duration::from_secs(86_401))),
            ("3us", Some(Duration::from_micros(3))),
            ("3\u{b5}s", Some(Duration::from_micros(3))),
            ("3\u{3bc}s", Some(Duration::from_micros(3))),
            ("5ns", Some(Duration::from_nanos(5))),
            (".5s", Some(Duration::from_millis(500))),
            ("0s", Some(Duration::ZERO)),
            ("99999999999999999999d", Some(Duration::MAX)),
            (
                "99999999999999999999d99999999999999999999h",
                Some(Duration::MAX),
            ),
            ("", None),
            ("s", None),
            ("1", None),
            ("1s2", None),
            ("-1s", None),
            ("+1s", None),
            ("1.2.3s", None),
            (".s", None),
            ("1e3s", None),
            ("1 s", None),
            ("1w", None),
            ("1S", None),
            ("NaNs", None),
        ];
        for (text, expected) in table {
            assert_eq!(duration(text), *expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "[0-9.hmsnu\u{b5}-]{0,24}", any in ".{0,24}") {
            let _ = (duration(&text), duration(&any));
        }

        #[test]
        fn what_go_writes_is_read_back(
            hours in 0_u64..10_000,
            minutes in 0_u64..60,
            millis in 0_u64..60_000,
        ) {
            let text = format!("{hours}h{minutes}m{}.{:03}s", millis / 1_000, millis % 1_000);
            let expected = Duration::from_millis((hours * 60 + minutes) * 60_000 + millis);
            prop_assert_eq!(duration(&text), Some(expected));
        }
    }
}
