//! A key as it comes, in pieces.

use super::place::Place;

#[derive(Debug)]
pub(super) struct Key {
    bytes: [u8; Place::LONGEST],
    /// More than there is room for where it is too long, or has an escape: such a key means nothing.
    len: usize,
}

// ===== impl Key =====

impl Key {
    pub(super) const fn new() -> Self {
        Self {
            bytes: [0; Place::LONGEST],
            len: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn push(&mut self, part: &[u8]) {
        let end = self.len.saturating_add(part.len());
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(part);
        }
        self.len = end;
    }

    /// An escape: no key that means anything needs one.
    pub(super) fn spoil(&mut self) {
        self.len = usize::MAX;
    }

    /// Empty where it means nothing.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(pieces: &[&[u8]]) -> Key {
        let mut key = Key::new();
        for piece in pieces {
            key.push(piece);
        }
        key
    }

    #[test]
    fn what_does_not_fit_is_no_key() {
        let longest = [b'a'; Place::LONGEST];
        assert_eq!(key(&[b"us", b"", b"age"]).as_bytes(), b"usage");
        assert_eq!(key(&[&longest]).as_bytes(), longest);
        assert_eq!(key(&[&longest, b"b"]).as_bytes(), b"");
        assert_eq!(key(&[b"b", &longest, b"c"]).as_bytes(), b"");
    }

    #[test]
    fn a_key_with_an_escape_is_none_until_the_next() {
        let mut key = key(&[b"us"]);
        key.spoil();
        key.push(b"age");
        assert_eq!(key.as_bytes(), b"");
        key.clear();
        key.push(b"usage");
        assert_eq!(key.as_bytes(), b"usage");
    }
}
