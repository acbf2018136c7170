//! The usage in JSON text that comes in pieces.
//!
//! A state machine, not a parser: what is not at a known [`Place`] is passed over with a count of its brackets. It asks
//! no more of the text than that, so garbage is read as something or other, with neither a panic nor growth.

use std::mem;

use memchr::memchr2;

use super::{
    fields::Fields,
    key::Key,
    place::{Meaning, Place},
    scan::bracket_or_quote,
};
use crate::TokenUsage;

/// Reads JSON texts, one after another, as JSON lines are.
#[derive(Debug)]
pub(super) struct Json {
    place: Place,
    /// The answer is an element of a list.
    listed: bool,
    /// What the usage is in, if it is in a wrapper.
    wrapper: Option<Place>,
    /// The usage of more than a beginning was told.
    is_final: bool,
    /// Open brackets below the place.
    below: u64,
    token: Token,
    /// The next string is a key.
    key_next: bool,
    key: Key,
    /// What the last key is for.
    meaning: Meaning,
    /// What has been told, and what the usage object at hand adds. That counts when it is whole: the half of one would
    /// be taken for an answer without output.
    pending: Fields,
    told: Fields,
}

/// What the next byte belongs to.
#[derive(Debug, Clone, Copy)]
enum Token {
    None,
    Key {
        escaped: bool,
    },
    Text {
        escaped: bool,
    },
    /// A number or a word, with its value if it is digits alone.
    Literal(Option<u64>),
}

// ===== impl Json =====

impl Json {
    pub(super) fn new() -> Self {
        Self {
            place: Place::Outside,
            listed: false,
            wrapper: None,
            is_final: false,
            below: 0,
            token: Token::None,
            key_next: false,
            key: Key::new(),
            meaning: Meaning::Nothing,
            pending: Fields::default(),
            told: Fields::default(),
        }
    }

    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            rest = match self.token {
                Token::None if self.below > 0 => self.pass_over(rest),
                Token::None => self.begin(first, rest),
                Token::Key { escaped } => self.key(escaped, rest),
                Token::Text { escaped } => self.text(escaped, rest),
                Token::Literal(value) => self.literal(value, rest),
            };
        }
    }

    /// Forgets the text at hand, not what has been told: another text begins.
    pub(super) fn reset(&mut self) {
        *self = Self {
            pending: self.told.clone(),
            told: mem::take(&mut self.told),
            is_final: self.is_final,
            ..Self::new()
        };
    }

    pub(super) fn usage(&self) -> Option<TokenUsage> {
        self.told.usage()
    }

    /// Whether what was told is of more than the beginning of an answer.
    pub(super) fn is_final(&self) -> bool {
        self.is_final
    }

    fn pass_over<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let Some(at) = bracket_or_quote(bytes) else {
            return &[];
        };
        match bytes[at] {
            b'"' => self.token = Token::Text { escaped: false },
            b'{' | b'[' => self.below = self.below.saturating_add(1),
            _ => self.below -= 1,
        }
        &bytes[at + 1..]
    }

    fn begin<'a>(&mut self, first: u8, bytes: &'a [u8]) -> &'a [u8] {
        match first {
            b'"' if self.key_next => {
                self.key_next = false;
                self.key.clear();
                self.token = Token::Key { escaped: false };
            }
            b'"' => {
                self.meaning = Meaning::Nothing;
                self.token = Token::Text { escaped: false };
            }
            b'{' | b'[' => self.open(first),
            b'}' | b']' => self.close(),
            b',' => self.expect_key(),
            b':' | b' ' | b'\t' | b'\n' | b'\r' => {}
            // The first byte is part of it.
            _ => {
                self.token = Token::Literal(Some(0));
                return bytes;
            }
        }
        &bytes[1..]
    }

    fn open(&mut self, bracket: u8) {
        let place = match (self.place, bracket, self.meaning) {
            (Place::Outside, b'[', _) => Some(Place::List),
            (Place::Outside | Place::List, b'{', _) => Some(Place::Top),
            (_, b'{', Meaning::Place(place)) => Some(place),
            _ => None,
        };
        match place {
            Some(place) => {
                self.listed |= place == Place::List;
                if matches!(place, Place::Wrapper | Place::Begun) {
                    self.wrapper = Some(place);
                }
                self.place = place;
                self.expect_key();
            }
            None => {
                self.below = 1;
                self.meaning = Meaning::Nothing;
            }
        }
    }

    fn close(&mut self) {
        self.place = match self.place {
            Place::InputDetails | Place::OutputDetails => Place::Usage,
            Place::Usage => {
                self.told = self.pending.clone();
                self.is_final |= self.wrapper != Some(Place::Begun);
                self.wrapper.unwrap_or(Place::Top)
            }
            Place::Wrapper | Place::Begun => {
                self.wrapper = None;
                Place::Top
            }
            Place::Top if self.listed => Place::List,
            Place::Top | Place::List | Place::Outside => {
                self.listed = false;
                Place::Outside
            }
        };
        self.key_next = false;
        self.meaning = Meaning::Nothing;
    }

    fn expect_key(&mut self) {
        self.key_next = true;
        self.meaning = Meaning::Nothing;
    }

    fn key<'a>(&mut self, escaped: bool, bytes: &'a [u8]) -> &'a [u8] {
        if escaped {
            self.token = Token::Key { escaped: false };
            return &bytes[1..];
        }
        let Some(at) = memchr2(b'"', b'\\', bytes) else {
            self.key.push(bytes);
            return &[];
        };
        if bytes[at] == b'"' {
            self.key.push(&bytes[..at]);
            self.meaning = self.place.meaning(self.key.as_bytes());
            self.token = Token::None;
        } else {
            self.key.spoil();
            self.token = Token::Key { escaped: true };
        }
        &bytes[at + 1..]
    }

    fn text<'a>(&mut self, escaped: bool, bytes: &'a [u8]) -> &'a [u8] {
        if escaped {
            self.token = Token::Text { escaped: false };
            return &bytes[1..];
        }
        let Some(at) = memchr2(b'"', b'\\', bytes) else {
            return &[];
        };
        self.token = match bytes[at] {
            b'"' => Token::None,
            _ => Token::Text { escaped: true },
        };
        &bytes[at + 1..]
    }

    /// Digits alone count, and saturate. A sign, a fraction or an exponent makes it a number that no tokens have.
    fn literal<'a>(&mut self, mut value: Option<u64>, bytes: &'a [u8]) -> &'a [u8] {
        for (at, &byte) in bytes.iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    let digit = u64::from(byte - b'0');
                    value = value.map(|value| value.saturating_mul(10).saturating_add(digit));
                }
                b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']' | b' ' | b'\t' | b'\n' | b'\r' => {
                    self.token = Token::None;
                    if let (Meaning::Field(field), Some(value)) = (self.meaning, value) {
                        self.pending.set(field, value);
                    }
                    self.meaning = Meaning::Nothing;
                    return &bytes[at..];
                }
                _ => value = None,
            }
        }
        // It may go on in the next piece.
        self.token = Token::Literal(value);
        &[]
    }
}
