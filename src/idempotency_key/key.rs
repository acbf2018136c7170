//! A key that nobody else has.

use std::fmt::{self, Write};

use http::HeaderValue;

/// A random UUID, of version 4.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key(u128);

/// A text of the length that a UUID has.
struct Text {
    bytes: [u8; 36],
    length: usize,
}

// ===== impl Key =====

impl Key {
    /// Draws one from the thread's generator, which can't be foreseen.
    pub(super) fn random() -> Self {
        Self::of(rand::random())
    }

    const fn of(random: u128) -> Self {
        const VERSION: u128 = 0xf << 76;
        const VARIANT: u128 = 0b11 << 62;
        Self(random & !(VERSION | VARIANT) | 4 << 76 | 0b10 << 62)
    }

    /// `None` never happens: all of its characters may stand in a header.
    pub(super) fn to_header(self) -> Option<HeaderValue> {
        let mut text = Text {
            bytes: [0; 36],
            length: 0,
        };
        write!(text, "{self}").ok()?;
        HeaderValue::from_bytes(&text.bytes).ok()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let part = |shift: u32, digits: u32| self.0 >> shift & ((1 << (4 * digits)) - 1);
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            part(96, 8),
            part(80, 4),
            part(64, 4),
            part(48, 4),
            part(0, 12)
        )
    }
}

// ===== impl Text =====

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn version_and_variant_stand_where_they_belong() {
        let text = |random| Key::of(random).to_string();
        assert_eq!(text(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(text(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        let digits = 0x0123_4567_89ab_cdef_0123_4567_89ab_cdef;
        assert_eq!(text(digits), "01234567-89ab-4def-8123-456789abcdef");
    }

    proptest! {
        #[test]
        fn every_key_is_a_header_of_36_characters(random: u128) {
            let key = Key::of(random);
            let header = key.to_header().unwrap();
            prop_assert_eq!(header.len(), 36);
            prop_assert_eq!(header.to_str().unwrap(), key.to_string());
        }
    }
}
