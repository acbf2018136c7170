//! `RateLimit` and `RateLimit-Policy`: lists with one item per limit.

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};
use sfv::{FieldType, Item, KeyRef, List, ListEntry, Parser, key_ref};

use super::{MOST, Standing, seconds};
use crate::http::headers::quoted_string::{printable, quote};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// The remainder, which a later draft calls `a` for available.
const REMAINING: [&KeyRef; 2] = [key_ref("r"), key_ref("a")];
const RESET: &KeyRef = key_ref("t");

/// The policy of one limit as a header value.
#[derive(Debug, Clone)]
pub(crate) struct PolicyItem {
    standing: Standing<'static>,
    value: HeaderValue,
}

/// Adds an item to each list. If there is one of that name, the more restrictive one stays, with
/// its policy.
pub(super) fn write(headers: &mut HeaderMap, standing: &Standing<'_>, policies: &[PolicyItem]) {
    let name = standing.name;
    let remaining = standing.remaining.min(MOST);
    let reset = seconds(standing.reset);
    let binds = |item: &Item| binds(item, remaining, reset);
    let lines = headers.get_all(&RATE_LIMIT).into_iter();
    let mut others = lines.filter_map(members).flatten();
    if others.any(|member| named(&member, name).is_some_and(binds)) {
        return;
    }
    let limit = item(name, [("r", remaining), ("t", reset)]);
    let (Some(policy), Some(limit)) = (policy(standing, policies), value(limit)) else {
        return;
    };
    put(headers, &RATE_LIMIT_POLICY, policy, name);
    put(headers, &RATE_LIMIT, limit, name);
}

/// Returns `true` if an item is at least as restrictive.
fn binds(item: &Item, remaining: u64, reset: u64) -> bool {
    let theirs = REMAINING.iter().find_map(|key| number(item, key));
    theirs.is_some_and(|theirs| {
        theirs < remaining
            || (theirs == remaining && number(item, RESET).unwrap_or_default() >= reset)
    })
}

/// Returns an item in a buffer of exact size, which becomes a header value without a copy.
fn item(name: &str, [(first, one), (second, two)]: [(&str, u64); 2]) -> Vec<u8> {
    let (mut first_buffer, mut second_buffer) = (itoa::Buffer::new(), itoa::Buffer::new());
    let one = first_buffer.format(one.min(MOST));
    let two = second_buffer.format(two.min(MOST));
    let parts = [";", first, "=", one, ";", second, "=", two];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let mut quoted_length = 0;
    quote(name, |_| quoted_length += 1);
    let mut item = Vec::with_capacity(quoted_length + length);
    quote(name, |byte| item.push(byte));
    for part in parts {
        item.extend_from_slice(part.as_bytes());
    }
    item
}

fn value(item: Vec<u8>) -> Option<HeaderValue> {
    HeaderValue::from_maybe_shared(Bytes::from(item)).ok()
}

/// Appends a line, and removes items of the same name and malformed lines.
fn put(headers: &mut HeaderMap, field: &HeaderName, value: HeaderValue, name: &str) {
    // If the map is full, it stays unchanged: the response is more important.
    match headers.try_entry(field) {
        Ok(Entry::Vacant(none)) => {
            let _ = none.try_insert(value);
        }
        Ok(Entry::Occupied(lines)) => {
            let kept = lines.iter().filter_map(|line| without(line, name));
            let kept: Vec<HeaderValue> = kept.collect();
            lines.remove_entry_mult();
            for line in kept.into_iter().chain([value]) {
                let _ = headers.try_append(field, line);
            }
        }
        Err(_) => {}
    }
}

/// Returns the members of a line, or `None` if it is malformed, which makes the whole list invalid.
///
/// This includes the dictionaries of drafts 04 to 07: `limit=10, remaining=5, reset=1`.
fn members(line: &HeaderValue) -> Option<List> {
    Parser::new(line.as_bytes()).parse().ok()
}

/// Returns a member as an item, if it has this name.
fn named<'a>(member: &'a ListEntry, name: &str) -> Option<&'a Item> {
    let ListEntry::Item(item) = member else {
        return None;
    };
    let theirs = item.bare_item.as_string()?;
    theirs.as_str().bytes().eq(printable(name)).then_some(item)
}

/// Returns a parameter that is a non-negative integer.
fn number(item: &Item, key: &KeyRef) -> Option<u64> {
    let number = item.params.get(key)?.as_integer()?;
    u64::try_from(i64::from(number)).ok()
}

/// Returns a line without the items of a name; `None` if it is empty then, or malformed.
fn without(line: &HeaderValue, name: &str) -> Option<HeaderValue> {
    let mut kept = members(line)?;
    let all = kept.len();
    kept.retain(|member| named(member, name).is_none());
    if kept.len() == all && all > 0 {
        return Some(line.clone());
    }
    HeaderValue::try_from(kept.serialize()?).ok()
}

/// Returns the policy of a limit, cloned from `policies` if it is there.
fn policy(standing: &Standing<'_>, policies: &[PolicyItem]) -> Option<HeaderValue> {
    match policies.iter().find(|policy| policy.is_of(standing)) {
        Some(policy) => Some(policy.value.clone()),
        None => policy_value(standing),
    }
}

fn policy_value(standing: &Standing<'_>) -> Option<HeaderValue> {
    let window = seconds(standing.window).max(1);
    value(item(standing.name, [("q", standing.quota), ("w", window)]))
}

// ===== impl PolicyItem =====

impl PolicyItem {
    pub(crate) fn new(standing: &Standing<'static>) -> Option<Self> {
        Some(Self {
            standing: *standing,
            value: policy_value(standing)?,
        })
    }

    fn is_of(&self, standing: &Standing<'_>) -> bool {
        let own = &self.standing;
        own.quota == standing.quota && own.window == standing.window && own.name == standing.name
    }
}
