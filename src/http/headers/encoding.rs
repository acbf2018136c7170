//! What a body is, and whether it has to be unpacked first.

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

/// Whether the body that `headers` announce is encoded in any way.
pub(crate) fn is_compressed(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(CONTENT_ENCODING).iter();
    let mut encodings = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    encodings.any(|encoding| {
        let encoding = encoding.trim_ascii();
        // The latter is registered nowhere, and what streams are often sent with, so that no proxy packs them.
        let plain = [&b""[..], b"identity", b"none"];
        !plain
            .iter()
            .any(|plain| encoding.eq_ignore_ascii_case(plain))
    })
}

/// Whether the type of the body that `headers` announce has this word in it, such as the `json` of `application/problem+json`.
#[cfg(feature = "cache")]
pub(crate) fn type_says(headers: &HeaderMap, word: &[u8]) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let mut parts = value.as_bytes().windows(word.len());
        parts.any(|part| part.eq_ignore_ascii_case(word))
    })
}

/// The type of the body that `headers` announce, without its parameters.
#[cfg(feature = "provider")]
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    Some(value[..end].trim_ascii())
}
