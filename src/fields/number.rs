//! Integers as header fields have them.

use std::time::{Duration, SystemTime};

use crate::refusal::seconds_begun;

/// The greatest integer of a structured field, which has 15 digits (RFC 9651 §3.3.1).
pub(super) const MOST: u64 = 999_999_999_999_999;

/// Digits of a number, no greater than [`MOST`].
#[derive(Debug)]
pub(super) struct Digits {
    places: [u8; 15],
    start: usize,
}

impl Digits {
    pub(super) fn new(number: u64) -> Self {
        let mut rest = number.min(MOST);
        let mut digits = Self {
            places: [b'0'; 15],
            start: 15,
        };
        loop {
            digits.start -= 1;
            digits.places[digits.start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                return digits;
            }
        }
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.places[self.start..]
    }
}

/// Whole seconds, rounded up, as far as they can be written.
pub(super) fn seconds(time: Duration) -> u64 {
    seconds_begun(time).min(MOST)
}

/// The seconds since 1970 at which `wait` is over.
pub(super) fn epoch(now: SystemTime, wait: Duration) -> u64 {
    let passed = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    seconds(passed.saturating_add(wait))
}

/// A number of digits only; those too great to count are the greatest.
pub(super) fn parse(text: &[u8]) -> Option<u64> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| {
        text.iter().fold(0_u64, |sum, digit| {
            sum.saturating_mul(10)
                .saturating_add(u64::from(digit - b'0'))
        })
    })
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
        fn digits_are_those_of_the_number(number in prop_oneof![Just(0), Just(MOST), Just(u64::MAX), any::<u64>(), 0..2 * MOST]) {
            let expected = number.min(MOST);
            let digits = Digits::new(number);
            let text = expected.to_string();
            prop_assert_eq!(digits.as_bytes(), text.as_bytes());
            prop_assert_eq!(parse(digits.as_bytes()), Some(expected));
        }
    }
}
