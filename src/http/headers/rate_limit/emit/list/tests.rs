use std::time::Duration;

use proptest::prelude::*;
use sfv::{BareItem, KeyRef, List, ListEntry, Parser};

use super::*;

fn standing(name: &str, remaining: u64, reset: u64) -> Standing<'_> {
    Standing {
        name,
        quota: 100,
        window: Duration::from_secs(60),
        remaining,
        reset: Duration::from_secs(reset),
    }
}

fn joined(headers: &HeaderMap, field: &HeaderName) -> String {
    let lines = headers.get_all(field).into_iter();
    let texts: Vec<&str> = lines.map(|line| line.to_str().unwrap()).collect();
    texts.join(", ")
}

/// Returns each item's name and two of its parameters.
fn read(headers: &HeaderMap, field: &HeaderName, keys: [&str; 2]) -> Vec<(String, [u64; 2])> {
    let list: List = Parser::new(&joined(headers, field)).parse().unwrap();
    let entry = |entry: &ListEntry| {
        let ListEntry::Item(item) = entry else {
            panic!("a list within a list");
        };
        let BareItem::String(name) = &item.bare_item else {
            panic!("a name that is no string");
        };
        assert_eq!(item.params.len(), 2);
        let numbers = keys.map(|key| match &item.params[KeyRef::from_str(key).unwrap()] {
            BareItem::Integer(number) => i64::from(*number).try_into().unwrap(),
            other => panic!("{other:?} is no integer"),
        });
        (name.as_str().to_owned(), numbers)
    };
    list.iter().map(entry).collect()
}

fn numbers() -> impl Strategy<Value = u64> {
    prop_oneof![
        Just(0),
        Just(u64::MAX),
        Just(MOST),
        Just(MOST + 1),
        any::<u64>()
    ]
}

fn names() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a\"\\\\,;= é\n]{0,8}"]
}

#[test]
fn more_restrictive_item_of_a_name_stays() {
    // `RateLimit` before and after 5 for 30 seconds of "a" were added.
    let ours = r#""a";r=5;t=30"#;
    let table = [
        (vec![], vec![ours]),
        (vec![r#""b";r=1;t=1"#], vec![r#""b";r=1;t=1"#, ours]),
        (vec![r#""a";r=4;t=1"#], vec![r#""a";r=4;t=1"#]),
        (vec![r#""a";r=5;t=30"#], vec![r#""a";r=5;t=30"#]),
        (vec![r#""a";r=5;t=29"#], vec![ours]),
        (vec![r#""a";r=5"#], vec![ours]),
        (vec![r#""a";r=6;t=99"#], vec![ours]),
        (vec![r#""a";a=4"#], vec![r#""a";a=4"#]),
        (vec![r#""a";r=9;r=4"#], vec![r#""a";r=9;r=4"#]),
        (vec![r#""a";r=?1"#], vec![ours]),
        (vec![r#""a""#], vec![ours]),
        (
            vec![r#""b";r=1,  "a"; r=9 ,"c""#],
            vec![r#""b";r=1, "c""#, ours],
        ),
        (vec![r#""b";r=1, "a";r=1"#], vec![r#""b";r=1, "a";r=1"#]),
        (
            vec![r#""b";x="\",\"a\";r=1""#],
            vec![r#""b";x="\",\"a\";r=1""#, ours],
        ),
        (vec![r#""a";x=";r=1";r=9"#], vec![ours]),
        (vec!["10;w=1, tok"], vec!["10;w=1, tok", ours]),
        (vec!["limit=9, remaining=1, reset=1"], vec![ours]),
        (
            vec![r#""a";r=1, "b"#, r#""c";r=1"#],
            vec![r#""c";r=1"#, ours],
        ),
        (vec!["", r#""c";r=1,"#], vec![ours]),
        (vec![r#""c";r=1;"#, "10/min"], vec![ours]),
        (vec![r#""c";r=1, "d";R=1"#, "10;w=1"], vec!["10;w=1", ours]),
    ];
    for (before, after) in table {
        let mut headers = HeaderMap::new();
        for line in &before {
            headers.append(&RATE_LIMIT, line.parse().unwrap());
        }
        write(&mut headers, &standing("a", 5, 30), &[]);
        let lines = headers.get_all(&RATE_LIMIT).into_iter();
        let lines: Vec<&str> = lines.map(|line| line.to_str().unwrap()).collect();
        assert_eq!(lines, after, "{before:?}");
        let added = after.contains(&ours) && !before.contains(&ours);
        assert_eq!(
            headers.contains_key(&RATE_LIMIT_POLICY),
            added,
            "{before:?}"
        );
    }
}

#[test]
fn a_policy_goes_with_its_limit() {
    for (outer, quota) in [(4, 100), (6, 7)] {
        let mut headers = HeaderMap::new();
        let inner = Standing {
            quota: 7,
            ..standing("a", 5, 1)
        };
        write(&mut headers, &inner, &[]);
        write(&mut headers, &standing("b", 9, 9), &[]);
        write(&mut headers, &standing("a", outer, 1), &[]);
        let mut policies = read(&headers, &RATE_LIMIT_POLICY, ["q", "w"]);
        policies.sort();
        let expected = [("a".to_owned(), [quota, 60]), ("b".to_owned(), [100, 60])];
        assert_eq!(policies, expected);
        assert_eq!(read(&headers, &RATE_LIMIT, ["r", "t"]).len(), 2);
    }
}

#[test]
fn a_buffer_fits() {
    for name in ["", "plain", "\"\\", "é\n"] {
        let item = item(name, [("r", 0), ("t", u64::MAX)]);
        assert_eq!(item.len(), item.capacity(), "{name:?}");
    }
}

proptest! {
    #[test]
    fn each_field_is_read_back(
        name in names(), quota in numbers(), remaining in numbers(),
        window in numbers(), reset in numbers(),
        nanos in prop_oneof![Just(0), 0_u32..1_000_000_000],
    ) {
        let mut headers = HeaderMap::new();
        let time = |seconds: u64| Duration::new(seconds, nanos);
        let up = |seconds: u64| seconds.saturating_add(u64::from(nanos > 0)).min(MOST);
        let standing = Standing {
            name: &name,
            quota,
            window: time(window),
            remaining,
            reset: time(reset),
        };
        write(&mut headers, &standing, &[]);
        let plain = |byte| if matches!(byte, b' '..=b'~') { char::from(byte) } else { '_' };
        let expected: String = name.bytes().map(plain).collect();
        prop_assert_eq!(
            read(&headers, &RATE_LIMIT_POLICY, ["q", "w"]),
            [(expected.clone(), [quota.min(MOST), up(window).max(1)])]
        );
        prop_assert_eq!(
            read(&headers, &RATE_LIMIT, ["r", "t"]),
            [(expected, [remaining.min(MOST), up(reset)])]
        );
    }

    #[test]
    fn a_stack_lists_each_name_once_with_the_fewest(
        layers in proptest::collection::vec(("[ab\",]{0,2}", 0..9_u64, 0..3_u64), 1..8),
    ) {
        let mut headers = HeaderMap::new();
        let mut expected = std::collections::BTreeMap::new();
        for (name, remaining, reset) in &layers {
            write(&mut headers, &standing(name, *remaining, *reset), &[]);
            let kept = expected.entry(name.clone()).or_insert((*remaining, *reset));
            if (*remaining, std::cmp::Reverse(*reset)) < (kept.0, std::cmp::Reverse(kept.1)) {
                *kept = (*remaining, *reset);
            }
        }
        let mut read_back = read(&headers, &RATE_LIMIT, ["r", "t"]);
        read_back.sort();
        let expected: Vec<_> = expected.into_iter().map(|(name, (r, t))| (name, [r, t])).collect();
        prop_assert_eq!(read_back, expected);
        let policies = headers.get_all(&RATE_LIMIT_POLICY).iter().count();
        let limits = headers.get_all(&RATE_LIMIT).iter().count();
        prop_assert_eq!(policies, limits);
    }

    #[test]
    fn written_items_are_always_readable(
        lines in proptest::collection::vec("[a\"\\\\,;=r0-9 é]{0,24}", 0..3),
    ) {
        let mut headers = HeaderMap::new();
        for line in &lines {
            let value = HeaderValue::from_bytes(line.trim().as_bytes()).unwrap();
            headers.append(&RATE_LIMIT, value.clone());
            headers.append(&RATE_LIMIT_POLICY, value);
        }
        write(&mut headers, &standing("b", 5, 30), &[]);
        for field in [&RATE_LIMIT, &RATE_LIMIT_POLICY] {
            let list: List = Parser::new(&joined(&headers, field)).parse().unwrap();
            let Some(ListEntry::Item(last)) = list.last() else {
                panic!("{lines:?}");
            };
            prop_assert_eq!(last.bare_item.as_string().map(|name| name.as_str()), Some("b"));
        }
    }
}
