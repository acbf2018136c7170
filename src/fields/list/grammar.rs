//! What an item of a list may be (RFC 9651 §3). One that is none makes the whole list unreadable.

/// Whether it is an item with its parameters. One that is a list itself, or has text beyond ASCII, stands in none of these fields.
pub(super) fn is_item(text: &[u8]) -> bool {
    let mut rest = bare_item(text);
    while let Some([b';', parameter @ ..]) = rest {
        rest = key_and_value(split(parameter, |byte| *byte == b' ').1);
    }
    rest.is_some_and(<[u8]>::is_empty)
}

// Each of these takes its own from the front, and returns what is left.

fn key_and_value(text: &[u8]) -> Option<&[u8]> {
    let is_first = |byte: &u8| matches!(byte, b'a'..=b'z' | b'*');
    let is_more = |byte: &u8| is_first(byte) || matches!(byte, b'0'..=b'9' | b'_' | b'-' | b'.');
    text.first().filter(|first| is_first(first))?;
    match split(text, is_more).1 {
        [b'=', value @ ..] => bare_item(value),
        // It is there, which is all that it says.
        rest => Some(rest),
    }
}

fn bare_item(text: &[u8]) -> Option<&[u8]> {
    match text {
        [b'"', rest @ ..] => string(rest),
        [b':', rest @ ..] => {
            let (_, rest) = split(rest, |byte| {
                byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/' | b'=')
            });
            rest.strip_prefix(b":")
        }
        [b'?', b'0' | b'1', rest @ ..] => Some(rest),
        [b'@', date @ ..] => {
            number(date).filter(|rest| !date[..date.len() - rest.len()].contains(&b'.'))
        }
        [b'-' | b'0'..=b'9', ..] => number(text),
        [b'a'..=b'z' | b'A'..=b'Z' | b'*', ..] => Some(split(text, is_of_token).1),
        _ => None,
    }
}

fn string(mut text: &[u8]) -> Option<&[u8]> {
    loop {
        text = match text {
            [b'"', rest @ ..] => return Some(rest),
            [b'\\', b'"' | b'\\', rest @ ..] | [b' '..=b'[' | b']'..=b'~', rest @ ..] => rest,
            _ => return None,
        };
    }
}

/// Up to 15 digits, or up to 12 and three behind a point.
fn number(text: &[u8]) -> Option<&[u8]> {
    let (whole, rest) = split(text.strip_prefix(b"-").unwrap_or(text), u8::is_ascii_digit);
    let [b'.', part @ ..] = rest else {
        return matches!(whole.len(), 1..=15).then_some(rest);
    };
    let (part, rest) = split(part, u8::is_ascii_digit);
    (matches!(whole.len(), 1..=12) && matches!(part.len(), 1..=3)).then_some(rest)
}

fn is_of_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(byte)
}

fn split(text: &[u8], is_in: impl Fn(&u8) -> bool) -> (&[u8], &[u8]) {
    let end = text.iter().position(|byte| !is_in(byte));
    text.split_at(end.unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sfv::{Item, Parser};

    use super::*;

    /// What a parser of the whole grammar says.
    fn expected(text: &str) -> bool {
        Parser::new(text).parse::<Item>().is_ok()
    }

    #[test]
    fn an_item_is_what_a_parser_of_the_whole_grammar_takes_for_one() {
        for text in [
            "",
            "a",
            "*a/b:c",
            "A-1",
            "1a",
            "10/min",
            "a b",
            "a=1",
            "é",
            "{}",
            "-",
            "-1",
            "--1",
            "1.",
            "1.2",
            ".5",
            "1.2345",
            "123456789012",
            "1234567890123.1",
            "123456789012345",
            "1234567890123456",
            "?0",
            "?1",
            "?2",
            "?",
            "@1",
            "@-1",
            "@1.5",
            "@",
            ":YQ==:",
            ":YQ==",
            ":é:",
            r#""""#,
            r#"""#,
            r#""a\"\\""#,
            r#""a\b""#,
            r#""é""#,
            r#""a"b"#,
            "a;",
            "a;b",
            "a;b=",
            "a;b=1",
            "a; b=1;  c",
            "a ;b=1",
            "a;\tb",
            "a;b =1",
            "a;b= 1",
            "a;B=1",
            "a;1=1",
            "a;*b_-.1=?0",
            "a;b=x;b=\"y;z\"",
            "a;;b",
            "a;b;",
        ] {
            assert_eq!(is_item(text.as_bytes()), expected(text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn so_is_any_text(text in "[aZ\"\\\\;=rt0-9.? *@_:é-]{0,12}") {
            // Base64 that is cut short, and what is only white around an item, are not looked at.
            prop_assume!(!text.contains(':') && text.trim() == text);
            prop_assert_eq!(is_item(text.as_bytes()), expected(&text));
        }
    }
}
