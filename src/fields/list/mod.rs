//! `RateLimit` and `RateLimit-Policy`: lists, with an item for each limit.

mod item;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};

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
    let window = seconds(standing.window).max(1);
    let policy = format(
        standing.name,
        quoted,
        [(b";q=", standing.quota), (b";w=", window)],
    );
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
fn put(headers: &mut HeaderMap, field: &HeaderName, item: Vec<u8>, quoted: usize) {
    let name = &item[..quoted];
    let stays = |line: &HeaderValue| {
        items(line.as_bytes()).is_some_and(|mut items| items.all(|item| item.head() != name))
    };
    if !headers.get_all(field).iter().all(stays) {
        let lines = headers.get_all(field).into_iter();
        let kept: Vec<HeaderValue> = lines.filter_map(|line| without(line, name)).collect();
        headers.remove(field);
        for line in kept {
            let _ = headers.try_append(field, line);
        }
    }
    if let Ok(value) = HeaderValue::from_maybe_shared(Bytes::from(item)) {
        // A map that is full stays as it is: the response matters more.
        let _ = headers.try_append(field, value);
    }
}

/// A line without the items of a name; `None` if nothing is left of it, or nobody could read it.
fn without(line: &HeaderValue, name: &[u8]) -> Option<HeaderValue> {
    let others = || items(line.as_bytes()).map(|items| items.filter(|item| item.head() != name));
    let kept: Vec<&[u8]> = others()?.map(|item| item.text()).collect();
    if kept.is_empty() {
        return None;
    }
    HeaderValue::from_bytes(&kept.join(&b", "[..])).ok()
}
