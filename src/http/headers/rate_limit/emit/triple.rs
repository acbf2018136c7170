//! Three header fields with one number each, for a single limit.

use http::{HeaderMap, HeaderName, HeaderValue};

use super::{MOST, Standing};
use crate::http::headers::integer;

/// The header names of draft 03.
pub(super) const DRAFT_03: [HeaderName; 3] = [
    HeaderName::from_static("ratelimit-limit"),
    HeaderName::from_static("ratelimit-remaining"),
    HeaderName::from_static("ratelimit-reset"),
];

pub(super) const X: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// Returns the remainder and the time to the reset; `None` if one of the three is missing or
/// invalid.
fn read(headers: &HeaderMap, [limit, remaining, reset]: &[HeaderName; 3]) -> Option<(u64, u64)> {
    let value = |name| Some(headers.get(name)?.as_bytes().trim_ascii());
    // Draft 03 lets policies follow the limit: `10, 10;w=1, 50;w=60`.
    let mut limit = value(limit)?.split(|byte| matches!(byte, b',' | b';'));
    integer(limit.next()?.trim_ascii())?;
    Some((integer(value(remaining)?)?, integer(value(reset)?)?))
}

/// Writes `standing`, except if the present fields are at least as restrictive.
pub(super) fn write(
    headers: &mut HeaderMap,
    names: &[HeaderName; 3],
    standing: &Standing<'_>,
    reset: u64,
) {
    let remaining = standing.remaining.min(MOST);
    if let Some((theirs, their_reset)) = read(headers, names) {
        if theirs < remaining || (theirs == remaining && their_reset >= reset) {
            return;
        }
    }
    for (name, number) in names.iter().zip([standing.quota, remaining, reset]) {
        // If the map is full, it stays unchanged: the response is more important.
        let _ = headers.try_insert(name, HeaderValue::from(number.min(MOST)));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use sfv::{BareItem, Item, Parser};

    use super::*;

    fn number(headers: &HeaderMap, name: &str) -> u64 {
        let text = headers.get(name).unwrap().to_str().unwrap();
        let item: Item = Parser::new(text).parse().unwrap();
        assert!(item.params.is_empty());
        let BareItem::Integer(number) = item.bare_item else {
            panic!("{text:?} is no integer");
        };
        i64::from(number).try_into().unwrap()
    }

    fn standing(quota: u64, remaining: u64) -> Standing<'static> {
        Standing {
            name: "any",
            quota,
            window: Duration::from_secs(60),
            remaining,
            reset: Duration::ZERO,
        }
    }

    #[test]
    fn more_restrictive_fields_stay() {
        // The present fields, and whether 5 of 100 for 30 seconds replaces them.
        let table = [
            (["10", "4", "1"], false),
            (["10", "5", "31"], false),
            (["10", "5", "30"], false),
            (["10", "5", "29"], true),
            (["10", "6", "99"], true),
            (["10, 10;w=60", " 4 ", "1"], false),
            (["10;w=60", "4", "1"], false),
            (["", "4", "1"], true),
            (["10", "-4", "1"], true),
            (["10", "4.0", "1"], true),
            (["10", "4", "soon"], true),
            (["ten", "4", "1"], true),
            (["10", "99999999999999999999", "1"], true),
        ];
        for (there, replaced) in table {
            for names in [DRAFT_03, X] {
                let mut headers = HeaderMap::new();
                headers.insert(&names[0], there[0].parse().unwrap());
                headers.insert(&names[1], there[1].parse().unwrap());
                headers.insert(&names[2], there[2].parse().unwrap());
                write(&mut headers, &names, &standing(100, 5), 30);
                let after = names
                    .each_ref()
                    .map(|name| headers.get(name).unwrap().to_str().unwrap());
                let expected = if replaced { ["100", "5", "30"] } else { there };
                assert_eq!(after, expected, "{there:?}");
                assert_eq!(headers.len(), 3);
            }
        }
    }

    #[test]
    fn partial_fields_are_replaced() {
        let mut headers = HeaderMap::new();
        headers.append("x-ratelimit-remaining", "0".parse().unwrap());
        headers.append("x-ratelimit-remaining", "1".parse().unwrap());
        write(&mut headers, &X, &standing(100, 5), 30);
        assert_eq!(headers.len(), 3);
        assert_eq!(number(&headers, "x-ratelimit-remaining"), 5);
    }

    proptest! {
        #[test]
        fn each_field_is_read_back(
            quota in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
            remaining in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
            reset in prop_oneof![Just(0), Just(u64::MAX), any::<u64>()],
        ) {
            let mut headers = HeaderMap::new();
            write(&mut headers, &DRAFT_03, &standing(quota, remaining), reset);
            prop_assert_eq!(number(&headers, "ratelimit-limit"), quota.min(MOST));
            prop_assert_eq!(number(&headers, "ratelimit-remaining"), remaining.min(MOST));
            prop_assert_eq!(number(&headers, "ratelimit-reset"), reset.min(MOST));
        }
    }
}
