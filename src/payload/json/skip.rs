//! The end of a value in JSON text, found without a look at what is in it.

use memchr::memchr2;

/// Finds where a value ends that is a text, an array or an object, in text that may come in pieces.
///
/// It counts brackets outside of texts and asks no more, so that what is malformed ends somewhere
/// too.
#[derive(Debug, Default)]
pub(crate) struct Skip {
    depth: u64,
    in_text: bool,
    is_escaped: bool,
}

impl Skip {
    /// How many of the next bytes belong to the value; `None` if all do and it goes on.
    pub(crate) fn end(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while at < bytes.len() {
            if std::mem::take(&mut self.is_escaped) {
                at += 1;
                continue;
            }
            let rest = &bytes[at..];
            at += 1 + if self.in_text {
                memchr2(b'"', b'\\', rest)?
            } else {
                bracket_or_quote(rest)?
            };
            match bytes[at - 1] {
                b'\\' => self.is_escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' | b'[' => self.depth = self.depth.saturating_add(1),
                _ => self.depth = self.depth.saturating_sub(1),
            }
            if self.depth == 0 && !self.in_text {
                return Some(at);
            }
        }
        None
    }
}

/// Where the first bracket or quote is.
pub(super) fn bracket_or_quote(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    // This bit is all that `{` and `}` have and `[` and `]` have not.
    let is = |byte: u8| byte == b'"' || matches!(byte | 0x20, b'{' | b'}');
    // Without a branch for each byte, the compiler looks at all of a block at once.
    let any = |block: &[u8]| block.iter().fold(false, |any, byte| any | is(*byte));
    let blocks = bytes.chunks_exact(BLOCK).take_while(|block| !any(block));
    let start = BLOCK * blocks.count();
    let at = bytes[start..].iter().position(|byte| is(*byte))?;
    Some(start + at)
}
