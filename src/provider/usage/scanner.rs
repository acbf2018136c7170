//! The usage in JSON text that comes in pieces.
//!
//! Nothing is kept of the text but the name at hand and the usage object, which are small. The rest is passed over with a
//! count of its brackets. Garbage is read as something or other, with neither a panic nor growth.

use std::mem;

use super::fields::Fields;
use crate::{
    TokenUsage,
    events::Sink,
    payload::json::{Json, Skip},
};

/// Reads JSON texts, one after another, as JSON lines are.
#[derive(Debug, Default)]
pub(super) struct Scanner {
    /// What leads to the usage and is open, the outermost first. All else is passed over.
    path: Vec<Place>,
    /// What is read to its end now.
    value: Option<Value>,
    skip: Skip,
    /// The bytes of that value, or of the one just before, as far as they are of use.
    kept: Vec<u8>,
    /// The value just before is a name.
    has_colon: bool,
    fields: Fields,
    is_final: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
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

#[derive(Debug, Clone, Copy)]
enum Value {
    /// A string, such as a name.
    Name,
    Usage,
    Other,
}

// ===== impl Scanner =====

impl Scanner {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            rest = if let Some(value) = self.value {
                self.read(value, rest)
            } else if self.begin(first) {
                rest
            } else {
                &rest[1..]
            };
        }
    }

    pub(super) fn usage(&self) -> Option<TokenUsage> {
        self.fields.usage()
    }

    /// Whether the usage of more than the beginning of a response was read.
    pub(super) const fn is_final(&self) -> bool {
        self.is_final
    }

    /// Reads the first byte of something. Whether that is a value, which is to be read with this byte.
    fn begin(&mut self, first: u8) -> bool {
        match first {
            b' ' | b'\t' | b'\n' | b'\r' => return false,
            b':' => {
                self.has_colon = true;
                return false;
            }
            b'"' => self.value = Some(Value::Name),
            b'{' | b'[' => match self.place(first) {
                None => self.value = Some(Value::Other),
                Some(Place::Usage) => self.value = Some(Value::Usage),
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
    fn place(&self, bracket: u8) -> Option<Place> {
        let name = if self.has_colon { &*self.kept } else { b"" };
        Some(match (self.path.last(), bracket, name) {
            (None, b'[', _) => Place::List,
            (None | Some(Place::List), b'{', _) => Place::Response,
            (Some(Place::Response), b'{', b"\"usage\"" | b"\"usageMetadata\"") => Place::Usage,
            (Some(Place::Response), b'{', b"\"message\"") => Place::Begun,
            (Some(Place::Response), b'{', b"\"response\"" | b"\"x_groq\"") => Place::Wrapper,
            (Some(Place::Wrapper | Place::Begun), b'{', b"\"usage\"") => Place::Usage,
            _ => return None,
        })
    }

    /// Reads a value to its end, or all there is of it, and gives back what is left.
    fn read<'a>(&mut self, value: Value, bytes: &'a [u8]) -> &'a [u8] {
        let end = self.skip.end(bytes);
        let (part, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
        // A byte more than the longest name that is known, and more than any usage has.
        let most = match value {
            Value::Name => b"\"usageMetadata\"".len() + 1,
            Value::Usage => 16 * 1024,
            Value::Other => 0,
        };
        let room = most - self.kept.len();
        self.kept.extend_from_slice(&part[..part.len().min(room)]);
        if end.is_some() {
            self.value = None;
            if matches!(value, Value::Usage) {
                let usage = String::from_utf8_lossy(&self.kept);
                self.fields.read(Json::lenient(&usage));
                self.is_final |= self.path.last() != Some(&Place::Begun);
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
        *self = Self {
            fields: mem::take(&mut self.fields),
            is_final: self.is_final,
            ..Self::default()
        };
    }
}
