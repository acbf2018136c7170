use proptest::prelude::*;
use serde_json::Value;

use super::{skip::bracket_or_quote, *};

fn parse(text: &str) -> Json<'_> {
    Json::parse(text.as_bytes()).unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn any_value_is_read() {
    let max = u64::MAX;
    // JSON, as a string, as a number
    let table = [
        ("null", None, None),
        ("true", None, None),
        ("\"a\\u0062\"", Some("ab"), None),
        ("\"\"", Some(""), None),
        ("\"7\"", Some("7"), None),
        ("\"a\\ud83d\"", Some("a\\ud83d"), None),
        ("7", None, Some(7)),
        ("-7", None, None),
        ("-0", None, Some(0)),
        ("1e3", None, Some(1_000)),
        ("1.5", None, Some(2)),
        ("12.0", None, Some(12)),
        ("-1.5", None, None),
        ("18446744073709551615", None, Some(max)),
        ("18446744073709551616", None, Some(max)),
        ("1e300", None, Some(max)),
        ("1e999", None, Some(max)),
        ("[]", None, None),
        ("[1,[2],{\"a\":[]}]", None, None),
        ("{\"a\":1,\"b\":[{}]}", None, None),
    ];
    for (text, string, number) in table {
        let padded = format!(" \n{text}\t");
        let value = parse(&padded);
        assert_eq!(value.text(), text);
        assert_eq!(value.as_str().as_deref(), string, "{text}");
        assert_eq!(value.as_u64(), number, "{text}");
    }
}

#[test]
fn invalid_json_is_none() {
    for text in [
        "",
        " ",
        "{",
        "[1,",
        "\"a",
        "{\"a\":1",
        "{\"a\" 1}",
        "{,}",
        "{1:2}",
        "{\"a\":12true}",
        "[1,]",
        "{} {}",
        "nul",
        "NaN",
        "01",
        "text",
        "\"\u{1}\"",
    ] {
        assert!(Json::parse(text.as_bytes()).is_none(), "{text}");
    }
    assert!(Json::parse(b"\"\xff\"").is_none());
}

#[test]
fn unused_members_are_not_validated() {
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for other in [
        "\"a\":\"\\ud800\"",
        "\"\\ud800\":1",
        "\"a\":1e9999",
        "\"a\":1,\"a\":2",
        "\"a\":\"}\\\"\"",
        "\"\\\"b\\\"\":[{\"b\":2}]",
        &format!("\"a\":{deep}"),
    ] {
        for text in [
            format!("{{{other},\"b\":5}}"),
            format!("{{\"b\":5,{other}}}"),
        ] {
            let value = parse(&text).get("b").unwrap();
            assert_eq!(value.as_u64(), Some(5), "{other}");
        }
    }
    assert_eq!(parse(r#"{"b":1,"\u0062":2}"#).get("b").unwrap().text(), "2");
}

#[test]
fn paths_lead_to_values() {
    let text = r#"{"a":{"b":[1,{"c":2},{"c":3}]},"d":null}"#;
    for (path, expected) in [
        ("a/b/*", &["1", "{\"c\":2}", "{\"c\":3}"][..]),
        ("a/b/*/c", &["2", "3"]),
        ("d", &["null"]),
        ("a/*", &[]),
        ("a/c", &[]),
        ("d/a", &[]),
    ] {
        let values: Vec<_> = parse(text)
            .at(path)
            .iter()
            .map(|value| value.text)
            .collect();
        assert_eq!(values, expected, "{path}");
    }
}

#[test]
fn truncated_text_is_read() {
    let text = Json::lenient(r#" {"a":{"b":"c","d":["e"#);
    assert!(text.at("a/b")[0].is("c"));
    let last = text.at("a/d/*")[0];
    assert_eq!((last.text(), last.as_str()), ("\"e", Some("e".into())));
    for text in ["", " ", "}", ",", "]{", "{\"a\"", "{\"a\":", "{:}"] {
        assert!(Json::lenient(text).get("a").is_none(), "{text}");
    }
}

#[test]
fn malformed_text_hides_nothing() {
    for body in [
        &b"\xef\xbb\xbf{\"a\":5}"[..],
        b"{\"x\":\"\xff\",\"a\":5}",
        b"{\"x\":\"\\ud83d\",\"a\":5}",
        b"{\"x\":\"\\q\",\"a\":5}",
        b"{\"x\":NaN,\"y\":-Infinity,\"a\":5}",
        b"{\"a\":1,\"a\":5}",
        b"{\"a\":5} more",
        b"{\"a\":5}{\"a\":6}",
        b"{\"a\":5,\"x\":[{\"y\":\"cut",
        b"{\"a\":5,}",
    ] {
        let text = text(body);
        let found = Json::lenient(&text).get("a").and_then(Json::as_u64);
        assert_eq!(found, Some(5), "{text}");
    }
}

#[test]
fn a_value_ends_in_the_same_place_in_pieces() {
    for (value, after) in [
        ("\"\"", "\""),
        (r#""a\"b\\""#, "\"c\""),
        (r#""\\\"""#, ""),
        ("{}", "}"),
        ("[[1,\"]\"],{\"a\":[]}]", ",[]"),
        (r#"{"\"}":"\\"}"#, " {"),
    ] {
        let text = format!("{value}{after}");
        for size in 1..=text.len() {
            let mut skip = Skip::default();
            let mut before = 0;
            let end = text.as_bytes().chunks(size).find_map(|piece| {
                let end = skip.end(piece).map(|end| before + end);
                before += piece.len();
                end
            });
            assert_eq!(end, Some(value.len()), "{text} by {size}");
        }
        let cut = &value.as_bytes()[..value.len() - 1];
        assert_eq!(Skip::default().end(cut), None, "{value}");
    }
}

#[test]
fn first_bracket_is_found_at_any_position() {
    for wanted in *b"\"[]{}" {
        for len in 0..120 {
            let mut bytes = vec![b'1'; len];
            assert_eq!(bracket_or_quote(&bytes), None);
            for at in (0..len).rev() {
                bytes[at] = wanted;
                assert_eq!(bracket_or_quote(&bytes), Some(at), "{len}");
            }
        }
    }
}

#[test]
fn nothing_else_is_found() {
    let others: Vec<u8> = (0..=u8::MAX)
        .filter(|byte| !b"\"[]{}".contains(byte))
        .collect();
    assert_eq!(bracket_or_quote(&others), None);
}

/// The same value from another parser.
fn value(json: Json<'_>) -> Value {
    if json.is_object() {
        let member =
            |(name, inside): (Json<'_>, _)| (name.as_str().unwrap().into_owned(), value(inside));
        Value::Object(json.members().map(member).collect())
    } else if json.is_array() {
        json.elements().map(value).collect()
    } else {
        json.as_str()
            .map(Value::from)
            .unwrap_or_else(|| serde_json::from_str(json.text()).unwrap())
    }
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "[a-z\"\\\\{}\\[\\]:, é]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 30, 5, |inner| {
        let name = "[a-c\"\\\\{}:, é]{0,3}";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::hash_map(name, inner, 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn it_agrees_with_a_parser(expected in json(), is_pretty: bool) {
        let text = if is_pretty { format!("\n{expected:#} ") } else { expected.to_string() };
        let json = parse(&text);
        // Numbers as they are written.
        prop_assert_eq!(value(json), serde_json::from_str::<Value>(&text).unwrap());
        let tokens: String = json.tokens().map(Json::text).collect();
        prop_assert_eq!(tokens, expected.to_string());
        for (_, inside) in json.members() {
            let replaced = inside.replaced(text.as_bytes(), "7").unwrap();
            let replaced: Value = serde_json::from_slice(&replaced).unwrap();
            let sevens = replaced.as_object().unwrap().values().filter(|value| **value == 7);
            prop_assert!(sevens.count() > 0);
        }
        if json.is_object() {
            let more = json.with_member(text.as_bytes(), "new", "[]").unwrap();
            let mut more: Value = serde_json::from_slice(&more).unwrap();
            let new = more.as_object_mut().unwrap().remove("new");
            prop_assert_eq!(new, Some(Value::Array(vec![])));
            prop_assert_eq!(more, value(json));
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "([\"\\\\{}\\[\\]:, a1é]|\\PC){0,40}") {
        let json = Json::lenient(&text);
        let inside = json.members().flat_map(|(name, value)| [name, value]).chain(json.elements());
        for json in inside.chain(json.tokens()) {
            let _ = (json.as_str(), json.as_u64(), json.at("a/*"), json.get("a"));
        }
        let _ = json.with_member(b"", "a", "1");
    }
}
