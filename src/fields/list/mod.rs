//! `RateLimit` and `RateLimit-Policy`: lists, with an item for each limit.

mod item;
mod policy;
#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};
use sfv::{Item, KeyRef, key_ref};

use self::item::{members, named, number, quoted_len, without};
use super::{
    Standing,
    number::{Digits, MOST, seconds},
};
use crate::quoted::quote;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// What is left, which a later draft calls available.
const REMAINING: [&KeyRef; 2] = [key_ref("r"), key_ref("a")];
const RESET: &KeyRef = key_ref("t");

/// Adds an item to each list. Where one of that name is there already, the more restrictive stays, with its policy.
pub(super) fn write(headers: &mut HeaderMap, standing: &Standing<'_>) {
    let name = standing.name;
    let remaining = standing.remaining.min(MOST);
    let reset = seconds(standing.reset);
    let binds = |item: &Item| binds(item, remaining, reset);
    let lines = headers.get_all(&RATE_LIMIT).into_iter();
    let stays = lines
        .filter_map(members)
        .flatten()
        .any(|member| named(&member, name).is_some_and(binds));
    if stays {
        return;
    }
    let limit = format(
        name,
        quoted_len(name),
        [(b";r=", remaining), (b";t=", reset)],
    );
    let limit = HeaderValue::from_maybe_shared(Bytes::from(limit)).ok();
    let (Some(policy), Some(limit)) = (policy::value(standing), limit) else {
        return;
    };
    put(headers, &RATE_LIMIT_POLICY, policy, name);
    put(headers, &RATE_LIMIT, limit, name);
}

/// Whether an item is at least as restrictive.
fn binds(item: &Item, remaining: u64, reset: u64) -> bool {
    let theirs = REMAINING.iter().find_map(|key| number(item, key));
    theirs.is_some_and(|theirs| {
        theirs < remaining
            || (theirs == remaining && number(item, RESET).unwrap_or_default() >= reset)
    })
}

/// An item in a buffer that fits exactly, which becomes a value without a copy.
fn format(name: &str, quoted: usize, parameters: [(&[u8; 3], u64); 2]) -> Vec<u8> {
    let [first, second] = parameters.map(|(key, number)| (key, Digits::new(number)));
    let numbers = first.1.as_bytes().len() + second.1.as_bytes().len();
    let mut item = Vec::with_capacity(quoted + 6 + numbers);
    quote(name, |byte| item.push(byte));
    for (key, digits) in [first, second] {
        item.extend_from_slice(key);
        item.extend_from_slice(digits.as_bytes());
    }
    item
}

/// Appends a line, in place of any item of the same name, and of lines that would spoil the whole list.
fn put(headers: &mut HeaderMap, field: &HeaderName, value: HeaderValue, name: &str) {
    // A map that is full stays as it is: the response matters more.
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
