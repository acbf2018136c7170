//! Names as strings of structured fields (RFC 9651 §3.3.3), which are valid JSON strings as well.

/// Returns the bytes of a name that are printable ASCII, as strings require.
pub(crate) fn printable(name: &str) -> impl Iterator<Item = u8> + '_ {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    name.bytes()
        .map(move |byte| if is_plain(&byte) { byte } else { b'_' })
}

/// Writes a name in quotes.
pub(crate) fn quote(name: &str, mut push: impl FnMut(u8)) {
    push(b'"');
    for byte in printable(name) {
        if matches!(byte, b'"' | b'\\') {
            push(b'\\');
        }
        push(byte);
    }
    push(b'"');
}
