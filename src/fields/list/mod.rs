//! `RateLimit` and `RateLimit-Policy`: lists, with an item for each limit.

mod grammar;
mod item;
mod policy;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};

use self::item::{Item, items, push_name, quoted_len};
use super::{
    Standing,
    number::{Digits, MOST, seconds},
};

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Adds an item to each list. Where one of that name is there already, the more restrictive stays, with its policy.
pub(super) fn write(headers: &mut HeaderMap, standing: &Standing<'_>) {
    let quoted = quoted_len(standing.name);
    let remaining = standing.remaining.min(MOST);
    let reset = seconds(standing.reset);
    let limit = format(
        standing.name,
        quoted,
        [(b";r=", remaining), (b";t=", reset)],
    );
    let name = &limit[..quoted];
    let lines = headers.get_all(&RATE_LIMIT).into_iter();
    let stays = lines
        .filter_map(|line| items(line.as_bytes()))
        .flatten()
        .filter(|item| item.head() == name)
        .any(|item| binds(&item, remaining, reset));
    if stays {
        return;
    }
    let limit = HeaderValue::from_maybe_shared(Bytes::from(limit)).ok();
    let (Some(policy), Some(limit)) = (policy::value(standing), limit) else {
        return;
    };
    put(headers, &RATE_LIMIT_POLICY, policy, quoted);
    put(headers, &RATE_LIMIT, limit, quoted);
}

/// Whether an item is at least as restrictive.
fn binds(item: &Item<'_>, remaining: u64, reset: u64) -> bool {
    // A later draft says `a` for what is available.
    let theirs = item.number(b"r").or_else(|| item.number(b"a"));
    theirs.is_some_and(|theirs| {
        theirs < remaining
            || (theirs == remaining && item.number(b"t").unwrap_or_default() >= reset)
    })
}

/// An item in a buffer that fits exactly, which becomes a value without a copy.
fn format(name: &str, quoted: usize, parameters: [(&[u8; 3], u64); 2]) -> Vec<u8> {
    let [first, second] = parameters.map(|(key, number)| (key, Digits::new(number)));
    let numbers = first.1.as_bytes().len() + second.1.as_bytes().len();
    let mut item = Vec::with_capacity(quoted + 6 + numbers);
    push_name(&mut item, name);
    for (key, digits) in [first, second] {
        item.extend_from_slice(key);
        item.extend_from_slice(digits.as_bytes());
    }
    item
}

/// Appends a line, in place of any item of the same name, and of lines that would spoil the whole list.
fn put(headers: &mut HeaderMap, field: &HeaderName, value: HeaderValue, quoted: usize) {
    // A map that is full stays as it is: the response matters more.
    match headers.try_entry(field) {
        Ok(Entry::Vacant(none)) => {
            let _ = none.try_insert(value);
        }
        Ok(Entry::Occupied(lines)) => {
            let name = &value.as_bytes()[..quoted];
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

/// A line without the items of a name; `None` if nothing is left of it, or nobody could read it.
fn without(line: &HeaderValue, name: &[u8]) -> Option<HeaderValue> {
    let is_other = |item: &Item<'_>| item.head() != name;
    if items(line.as_bytes())?.all(|item| is_other(&item)) {
        return Some(line.clone());
    }
    let kept: Vec<&[u8]> = items(line.as_bytes())?
        .filter(is_other)
        .map(|item| item.text())
        .collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&kept.join(&b", "[..])).ok()
}
