//! `RateLimit` and `RateLimit-Policy`: lists, with an item for each limit.

mod item;
#[cfg(test)]
mod tests;

use std::fmt::Write;

use http::{HeaderMap, HeaderName, HeaderValue, header::Entry};
use sfv::{Item, KeyRef, key_ref};

use self::item::{members, named, number, quoted_len, without};
use super::{
    Standing,
    number::{MOST, seconds},
};
use crate::http::headers::quoted_string::quote;

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
    let window = seconds(standing.window).max(1);
    let policy = item(name, [("q", standing.quota), ("w", window)]);
    put(headers, &RATE_LIMIT_POLICY, policy, name);
    let limit = item(name, [("r", remaining), ("t", reset)]);
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
fn item(name: &str, parameters: [(&str, u64); 2]) -> String {
    let parameters = parameters.map(|(key, number)| (key, number.min(MOST)));
    let digits = |number: u64| number.checked_ilog10().unwrap_or(0) as usize + 1;
    let lengths = parameters.map(|(key, number)| key.len() + 2 + digits(number));
    let mut item = String::with_capacity(quoted_len(name) + lengths.iter().sum::<usize>());
    quote(name, |byte| item.push(byte.into()));
    for (key, number) in parameters {
        // A string takes whatever is written.
        let _ = write!(item, ";{key}={number}");
    }
    item
}

/// Appends a line, in place of any item of the same name, and of lines that would spoil the whole list.
fn put(headers: &mut HeaderMap, field: &HeaderName, item: String, name: &str) {
    let Ok(value) = HeaderValue::try_from(item) else {
        return;
    };
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
