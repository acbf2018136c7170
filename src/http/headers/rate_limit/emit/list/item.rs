//! Parses items of a list that other layers have written.

use http::HeaderValue;
use sfv::{FieldType, Item, KeyRef, List, ListEntry, Parser};

use crate::http::headers::quoted_string::printable;

/// Returns the members of a line, or `None` if it is malformed, which makes the whole list invalid.
///
/// This includes the dictionaries of drafts 04 to 07: `limit=10, remaining=5, reset=1`.
pub(super) fn members(line: &HeaderValue) -> Option<List> {
    Parser::new(line.as_bytes()).parse().ok()
}

/// Returns a member as an item, if it has this name.
pub(super) fn named<'a>(member: &'a ListEntry, name: &str) -> Option<&'a Item> {
    let ListEntry::Item(item) = member else {
        return None;
    };
    let theirs = item.bare_item.as_string()?;
    theirs.as_str().bytes().eq(printable(name)).then_some(item)
}

/// Returns a parameter that is a non-negative integer.
pub(super) fn number(item: &Item, key: &KeyRef) -> Option<u64> {
    let number = item.params.get(key)?.as_integer()?;
    u64::try_from(i64::from(number)).ok()
}

/// Returns a line without the items of a name; `None` if it is empty then, or malformed.
pub(super) fn without(line: &HeaderValue, name: &str) -> Option<HeaderValue> {
    let mut kept = members(line)?;
    let all = kept.len();
    kept.retain(|member| named(member, name).is_none());
    if kept.len() == all && all > 0 {
        return Some(line.clone());
    }
    HeaderValue::try_from(kept.serialize()?).ok()
}

/// Returns the length of a name in quotes.
pub(super) fn quoted_len(name: &str) -> usize {
    let escaped = name.bytes().filter(|byte| matches!(byte, b'"' | b'\\'));
    name.len() + escaped.count() + 2
}
