//! What there is to tokenize in a part of a request, counted as it is parsed.

mod member;
mod walk;

use std::fmt::{self, Write};

pub(super) use self::walk::{Reading, Walk};

/// What has been counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// Bytes of ASCII text.
    pub(super) ascii: u64,
    /// Characters that are not ASCII.
    pub(super) other: u64,
    /// Tokens that stand there as numbers.
    pub(super) tokens: u64,
    /// Images, recordings and files.
    pub(super) media: u64,
    /// Prompts in a list: strings, or arrays of tokens.
    pub(super) prompts: u64,
}

/// Counts what is written to it.
struct Written<'a>(&'a mut u64);

// ===== impl Count =====

impl Count {
    /// A reader that adds to this count.
    pub(super) fn walk(&mut self, reading: Reading) -> Walk<'_> {
        Walk {
            count: self,
            reading,
        }
    }

    fn text(&mut self, text: &str) {
        let ascii = text.bytes().filter(u8::is_ascii).count();
        // Every character that is not ASCII has one byte of these, and it is the first.
        let other = text.bytes().filter(|byte| *byte >= 0xC0).count();
        self.ascii += ascii as u64;
        self.other += other as u64;
    }

    /// A number as it is written.
    fn number(&mut self, number: impl fmt::Debug) {
        // Writing to a counter does not fail. As a debug print, a large number has an exponent.
        let _ = write!(Written(&mut self.ascii), "{number:?}");
    }

    fn add(&mut self, more: Self) {
        self.ascii += more.ascii;
        self.other += more.other;
        self.tokens += more.tokens;
        self.media += more.media;
        self.prompts += more.prompts;
    }
}

// ===== impl Written =====

impl Write for Written<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        *self.0 += text.len() as u64;
        Ok(())
    }
}
