//! Names as structured fields have strings (RFC 9651 §3.3.3). All of these are strings of JSON, too.

/// A name as far as a string can have it: in printable ASCII.
pub(crate) fn printable(name: &str) -> impl Iterator<Item = u8> + '_ {
    let is_plain = |byte: &u8| matches!(byte, b' '..=b'~');
    name.bytes()
        .map(move |byte| if is_plain(&byte) { byte } else { b'_' })
}

/// Tells the bytes of a name in quotes.
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
