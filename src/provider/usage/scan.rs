//! The search for what can end a part of JSON that is passed over.

/// Where the first bracket or quote is: near, as in an object of small fields, or far, as behind a vector of numbers.
pub(super) fn bracket_or_quote(bytes: &[u8]) -> Option<usize> {
    const NEAR: usize = 16;
    const BLOCK: usize = 32;
    // This bit is all that `{` and `}` have and `[` and `]` have not.
    let is = |byte: u8| byte == b'"' || matches!(byte | 0x20, b'{' | b'}');
    let (near, far) = bytes.split_at(bytes.len().min(NEAR));
    if let Some(at) = near.iter().position(|byte| is(*byte)) {
        return Some(at);
    }
    // Without a branch for each byte, the compiler looks at all of a block at once.
    let any = |block: &[u8]| block.iter().fold(false, |any, byte| any | is(*byte));
    let blocks = far.chunks_exact(BLOCK).take_while(|block| !any(block));
    let start = NEAR + BLOCK * blocks.count();
    let at = bytes.get(start..)?.iter().position(|byte| is(*byte))?;
    Some(start + at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_found_wherever_it_is() {
        for wanted in *b"\"[]{}" {
            for len in 0..120 {
                let mut bytes = vec![b'1'; len];
                assert_eq!(bracket_or_quote(&bytes), None);
                for at in (0..len).rev() {
                    bytes[at] = wanted;
                    assert_eq!(bracket_or_quote(&bytes), Some(at), "{len}");
                }
            }
        }
    }

    #[test]
    fn nothing_else_is_found() {
        let others: Vec<u8> = (0..=u8::MAX)
            .filter(|byte| !b"\"[]{}".contains(byte))
            .collect();
        assert_eq!(bracket_or_quote(&others), None);
    }
}
