//! Finds the end of a JSON value without parsing it.

use memchr::memchr2;

/// Finds the end of a string, an array or an object in text that arrives in pieces.
///
/// It only counts brackets outside strings, so malformed values end as well.
#[derive(Debug, Default)]
pub(crate) struct Skip {
    depth: u64,
    in_text: bool,
    is_escaped: bool,
}

impl Skip {
    /// Returns how many bytes belong to the value; `None` if it goes on.
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

/// Returns the position of the first bracket or quote.
pub(super) fn bracket_or_quote(bytes: &[u8]) -> Option<usize> {
    const BLOCK: usize = 32;
    // `{` and `}` differ from `[` and `]` in this bit only.
    let is = |byte: u8| byte == b'"' || matches!(byte | 0x20, b'{' | b'}');
    // Without a branch per byte, the compiler vectorizes the loop.
    let any = |block: &[u8]| block.iter().fold(false, |any, byte| any | is(*byte));
    let blocks = bytes.chunks_exact(BLOCK).take_while(|block| !any(block));
    let start = BLOCK * blocks.count();
    let at = bytes[start..].iter().position(|byte| is(*byte))?;
    Some(start + at)
}
