//! Incremental scanner for the usage in JSON text.
//!
//! It keeps only the current name and the usage object, which are small. The rest is skipped by
//! counting brackets. Malformed input neither panics nor grows memory.

use super::fields::UsageFields;
use crate::payload::{
    json::{Json, Skip},
    sse::Sink,
};

/// The bytes kept of a string: one more than the longest known name.
const NAME: usize = b"\"usageMetadata\"".len() + 1;
/// The bytes kept of a usage object: more than any has.
const USAGE: usize = 16 * 1024;

/// Reads successive JSON texts, such as JSON lines.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// The open places that lead to the usage, the outermost first.
    path: Vec<JsonPlace>,
    /// How many bytes to keep of the current value.
    value: Option<usize>,
    skip: Skip,
    /// The kept bytes of the current or the previous value.
    kept: Vec<u8>,
    /// The previous value is a name.
    has_colon: bool,
    pub(super) fields: UsageFields,
    /// The usage is of more than the beginning of a response.
    pub(super) is_final: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonPlace {
    /// The array of some streams.
    List,
    /// The array of choices, each of which may have its own usage.
    Choices,
    /// A response object, or an event of one.
    Response,
    /// The object that contains the response in some events.
    Wrapper,
    /// Like `Wrapper`, of a response that has only begun.
    Begun,
    Usage,
}

// ===== impl Scanner =====

impl Scanner {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            rest = if let Some(most) = self.value {
                self.read(most, rest)
            } else if self.begin(first) {
                rest
            } else {
                &rest[1..]
            };
        }
    }

    /// Reads the first byte of a token. Returns `true` if it begins a value, which includes this
    /// byte.
    fn begin(&mut self, first: u8) -> bool {
        match first {
            b' ' | b'\t' | b'\n' | b'\r' => return false,
            b':' => {
                self.has_colon = true;
                return false;
            }
            b'"' => self.value = Some(NAME),
            b'{' | b'[' => match self.place(first) {
                None => self.value = Some(0),
                Some(JsonPlace::Usage) => self.value = Some(USAGE),
                Some(place) => self.path.push(place),
            },
            b'}' | b']' => drop(self.path.pop()),
            _ => {}
        }
        self.kept.clear();
        self.has_colon = false;
        self.value.is_some()
    }

    /// Returns the place that a bracket opens.
    fn place(&self, bracket: u8) -> Option<JsonPlace> {
        use JsonPlace::{Begun, Choices, List, Response, Usage, Wrapper};
        let name = if self.has_colon { &*self.kept } else { b"" };
        Some(match (self.path.last(), bracket, name) {
            (None, b'[', _) => List,
            (None | Some(List), b'{', _) => Response,
            (Some(Response | Wrapper), b'{', b"\"usageMetadata\"")
            | (Some(Response | Wrapper | Begun), b'{', b"\"usage\"") => Usage,
            (Some(Response), b'{', b"\"message\"") => Begun,
            (Some(Response), b'[', b"\"choices\"") => Choices,
            (Some(Choices), b'{', _)
            | (Some(Response), b'{', b"\"response\"" | b"\"delta\"" | b"\"x_groq\"") => Wrapper,
            _ => return None,
        })
    }

    /// Reads up to the end of the value or of the bytes, and returns the rest.
    fn read<'a>(&mut self, most: usize, bytes: &'a [u8]) -> &'a [u8] {
        let end = self.skip.end(bytes);
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        let room = most - self.kept.len();
        self.kept.extend_from_slice(&part[..part.len().min(room)]);
        if end.is_some() {
            self.value = None;
            if most == USAGE {
                let usage = String::from_utf8_lossy(&self.kept);
                self.fields.read(Json::lenient(&usage));
                self.is_final |= self.path.last() != Some(&JsonPlace::Begun);
            }
        }
        rest
    }
}

/// Each event is a separate text.
impl Sink for Scanner {
    fn data(&mut self, bytes: &[u8]) {
        self.feed(bytes);
    }

    fn end(&mut self) {
        self.path.clear();
        self.value = None;
        self.skip = Skip::default();
        self.kept.clear();
        self.has_colon = false;
    }
}
