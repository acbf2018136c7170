//! Items of a list, as far as names and numbers go.

use super::{super::number::parse, grammar::is_item};

/// An item with its parameters.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a>(&'a [u8]);

impl<'a> Item<'a> {
    /// All of it.
    pub(super) fn text(self) -> &'a [u8] {
        self.0
    }

    /// The item without its parameters: its name, in quotes.
    pub(super) fn head(self) -> &'a [u8] {
        cut(self.0, b';').0.trim_ascii()
    }

    /// A parameter, the last one of a key, as the grammar has it.
    pub(super) fn number(self, key: &[u8]) -> Option<u64> {
        let (_, mut rest) = cut(self.0, b';');
        let mut found = None;
        while let Some(text) = rest {
            let (parameter, after) = cut(text, b';');
            let (name, value) = cut(parameter.trim_ascii(), b'=');
            if name == key {
                found = value.and_then(parse);
            }
            rest = after;
        }
        found
    }
}

/// The items of a line, or `None` if that line makes the whole list unreadable.
///
/// Among those are the dictionaries of drafts 04 to 07: `limit=10, remaining=5, reset=1`.
pub(super) fn items(line: &[u8]) -> Option<impl Iterator<Item = Item<'_>>> {
    let readable = split(line).all(|item| is_item(item.text()));
    readable.then(|| split(line))
}

/// Writes a name as a string (RFC 9651 §3.3.3), which has printable ASCII only.
pub(super) fn push_name(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    for byte in name.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            b' '..=b'~' => out.push(byte),
            _ => out.push(b'_'),
        }
    }
    out.push(b'"');
}

/// How many bytes [`push_name`] writes.
pub(super) fn quoted_len(name: &str) -> usize {
    let escaped = name.bytes().filter(|byte| matches!(byte, b'"' | b'\\'));
    name.len() + escaped.count() + 2
}

fn split(line: &[u8]) -> impl Iterator<Item = Item<'_>> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let (item, after) = cut(rest?, b',');
        rest = after;
        Some(Item(item.trim_ascii()))
    })
}

/// What is before a separator and what is after; those inside of strings do not count.
fn cut(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let (mut quoted, mut escaped) = (false, false);
    for (at, byte) in text.iter().enumerate() {
        if escaped {
            escaped = false;
        } else if quoted {
            escaped = *byte == b'\\';
            quoted = *byte != b'"';
        } else if *byte == separator {
            return (&text[..at], Some(&text[at + 1..]));
        } else {
            quoted = *byte == b'"';
        }
    }
    (text, None)
}
