//! The usage in JSON text that comes in pieces.
//!
//! Nothing is kept of the text but the name at hand and the usage object, which are small. The rest
//! is passed over with a count of its brackets. Garbage is read as something or other, with neither
//! a panic nor growth.

use super::fields::UsageFields;
use crate::payload::{
    json::{Json, Skip},
    sse::Sink,
};

/// What is kept of a string: a byte more than the longest name that is known has.
const NAME: usize = b"\"usageMetadata\"".len() + 1;
/// What is kept of a usage object: more than any has.
const USAGE: usize = 16 * 1024;

/// Reads JSON texts, one after another, as JSON lines are.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// What leads to the usage and is open, the outermost first. All else is passed over.
    path: Vec<JsonPlace>,
    /// How much is kept of the value that is read to its end now.
    value: Option<usize>,
    skip: Skip,
    /// The bytes of that value, or of the one just before, as far as they are of use.
    kept: Vec<u8>,
    /// The value just before is a name.
    has_colon: bool,
    pub(super) fields: UsageFields,
    /// The usage of more than the beginning of a response was read.
    pub(super) is_final: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum JsonPlace {
    /// The list that some streams are as a whole.
    List,
    /// An object that is a whole response, or an event of one.
    Response,
    /// The object that some events have the response in.
    Wrapper,
    /// The same of a response that has only begun.
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

    /// Reads the first byte of something. Whether that is a value, which is to be read with this
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

    /// The place that a bracket opens.
    fn place(&self, bracket: u8) -> Option<JsonPlace> {
        let name = if self.has_colon { &*self.kept } else { b"" };
        Some(match (self.path.last(), bracket, name) {
            (None, b'[', _) => JsonPlace::List,
            (None | Some(JsonPlace::List), b'{', _) => JsonPlace::Response,
            (Some(JsonPlace::Response), b'{', b"\"usageMetadata\"")
            | (
                Some(JsonPlace::Response | JsonPlace::Wrapper | JsonPlace::Begun),
                b'{',
                b"\"usage\"",
            ) => JsonPlace::Usage,
            (Some(JsonPlace::Response), b'{', b"\"message\"") => JsonPlace::Begun,
            (Some(JsonPlace::Response), b'{', b"\"response\"" | b"\"x_groq\"") => {
                JsonPlace::Wrapper
            }
            _ => return None,
        })
    }

    /// Reads a value to its end, or all there is of it, and gives back what is left.
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

/// Each event is another text.
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
