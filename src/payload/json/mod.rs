//! Lazy JSON parser that borrows its text and parses only what is accessed.
//!
//! Nothing is validated: a truncated text, half a surrogate pair, `NaN`, duplicate names, and
//! anything after the first value do not hide the rest.

mod skip;

use std::{borrow::Cow, ops::Range};

use serde_json::value::RawValue;

pub(crate) use self::skip::Skip;
use crate::payload::sse::BYTE_ORDER_MARK;

const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];
const PUNCTUATION: [char; 6] = ['{', '}', '[', ']', ',', ':'];

/// A JSON value as text.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Json<'a> {
    text: &'a str,
    /// Its position in the whole text.
    start: usize,
}

/// Returns a body as text, without a byte order mark. Invalid UTF-8 is replaced.
pub(crate) fn text(body: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body))
}

/// Returns the length of the first token of `text`.
fn token(text: &str) -> usize {
    let is_end = |c: char| c == '"' || SPACE.contains(&c) || PUNCTUATION.contains(&c);
    let end = match text.chars().next() {
        Some('"') => Skip::default().end(text.as_bytes()),
        Some(first) if PUNCTUATION.contains(&first) => Some(1),
        _ => text.find(is_end),
    };
    end.unwrap_or(text.len())
}

/// Replaces a range of `body` by `text`.
fn splice(body: &[u8], range: Range<usize>, text: &str) -> Option<Vec<u8>> {
    let (before, after) = (body.get(..range.start)?, body.get(range.end..)?);
    Some([before, text.as_bytes(), after].concat())
}

// ===== impl Json =====

impl<'a> Json<'a> {
    /// Parses a body that is about to be changed; returns `None` if it is not JSON.
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        let value: &RawValue = serde_json::from_slice(body).ok()?;
        Some(Self {
            text: value.get(),
            start: body.len() - body.trim_ascii_start().len(),
        })
    }

    /// Returns the first value in a text, which may be truncated or malformed.
    pub(crate) fn lenient(text: &'a str) -> Self {
        let first = Self { text, start: 0 }.split_first();
        first.map_or_else(Self::default, |(value, _)| value)
    }

    /// Returns the value as text.
    pub(crate) const fn text(self) -> &'a str {
        self.text
    }

    pub(crate) fn is_array(self) -> bool {
        self.text.starts_with('[')
    }

    pub(crate) fn is_object(self) -> bool {
        self.text.starts_with('{')
    }

    pub(crate) fn is_number(self) -> bool {
        self.text
            .starts_with(|c: char| c == '-' || c.is_ascii_digit())
    }

    /// Returns a string; `None` for another value. One that is truncated or has an invalid escape,
    /// such as half a surrogate pair, is returned as it is written.
    pub(crate) fn as_str(self) -> Option<Cow<'a, str>> {
        let inside = self.text.strip_prefix('"')?;
        let inside = inside.strip_suffix('"').unwrap_or(inside);
        if inside.contains('\\') {
            if let Ok(text) = serde_json::from_str(self.text) {
                return Some(Cow::Owned(text));
            }
        }
        Some(Cow::Borrowed(inside))
    }

    /// Returns `true` if it is this string.
    pub(crate) fn is(self, text: &str) -> bool {
        self.as_str().is_some_and(|own| own == text)
    }

    /// Returns a non-negative number, rounded up and saturated.
    pub(crate) fn as_u64(self) -> Option<u64> {
        if !self.is_number() {
            return None;
        }
        self.text.parse().ok().or_else(|| {
            let number: f64 = self.text.parse().ok()?;
            // The cast saturates.
            (number >= 0.0).then(|| number.ceil() as u64)
        })
    }

    /// Returns the members of an object in order; none for other values.
    pub(crate) fn members(self) -> impl Iterator<Item = (Self, Self)> {
        let mut parts = self.parts('{');
        std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
    }

    /// Returns the elements of an array; none for other values.
    pub(crate) fn elements(self) -> impl Iterator<Item = Self> {
        self.parts('[')
    }

    /// Returns the member of that name; the last one if there are several.
    pub(crate) fn get(self, name: &str) -> Option<Self> {
        self.all(name).last()
    }

    /// Returns all members of that name.
    pub(crate) fn all(self, name: &str) -> impl Iterator<Item = Self> {
        let named = self.members().filter(move |(key, _)| key.is(name));
        named.map(|(_, value)| value)
    }

    /// Returns the values at a path such as `choices/*/delta`, in which `*` is each element of an
    /// array.
    pub(crate) fn at(self, path: &str) -> Vec<Self> {
        path.split('/').fold(vec![self], |values, name| {
            let mut inside = Vec::new();
            for value in values {
                match name {
                    "*" => inside.extend(value.elements()),
                    name => inside.extend(value.get(name)),
                }
            }
            inside
        })
    }

    /// Returns all tokens of this value without the whitespace.
    pub(crate) fn tokens(self) -> impl Iterator<Item = Self> {
        let mut rest = self.text;
        std::iter::from_fn(move || {
            let text = rest.trim_start_matches(SPACE);
            let start = self.start + self.text.len() - text.len();
            let (text, after) = text.split_at(token(text));
            rest = after;
            (!text.is_empty()).then_some(Self { text, start })
        })
    }

    /// Returns the body with this value replaced; `None` if the value is not part of this body.
    pub(crate) fn replaced(self, body: &[u8], value: &str) -> Option<Vec<u8>> {
        splice(body, self.start..self.start + self.text.len(), value)
    }

    /// Returns the body with another member at the beginning of this object; `None` if it is not an
    /// object or not part of this body.
    pub(crate) fn with_member(self, body: &[u8], name: &str, value: &str) -> Option<Vec<u8>> {
        if !self.is_object() {
            return None;
        }
        let comma = self.members().next().map_or("", |_| ",");
        let inside = self.start + 1;
        splice(body, inside..inside, &format!("\"{name}\":{value}{comma}"))
    }

    /// Returns the values in an array, or alternately the names and values in an object.
    fn parts(self, bracket: char) -> impl Iterator<Item = Self> {
        let text = self.text.strip_prefix(bracket).unwrap_or_default();
        let start = self.start + 1;
        let mut rest = Self { text, start };
        std::iter::from_fn(move || {
            let (value, after) = rest.split_first()?;
            rest = after;
            Some(value)
        })
    }

    /// Returns the first value of this text, and what follows it.
    fn split_first(self) -> Option<(Self, Self)> {
        let is_between = |c: char| matches!(c, ',' | ':') || SPACE.contains(&c);
        let text = self.text.trim_start_matches(is_between);
        let start = self.start + self.text.len() - text.len();
        let end = match text.bytes().next()? {
            b'}' | b']' => return None,
            b'{' | b'[' => Skip::default().end(text.as_bytes()).unwrap_or(text.len()),
            _ => token(text),
        };
        let (text, rest) = text.split_at(end);
        let rest = Self {
            text: rest,
            start: start + end,
        };
        Some((Self { text, start }, rest))
    }
}

#[cfg(test)]
mod tests;
