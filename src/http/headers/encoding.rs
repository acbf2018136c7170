//! Content type and content encoding.

use http::{
    HeaderMap,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
};

/// Returns `true` if the body with these headers is encoded in any way.
pub(crate) fn is_compressed(headers: &HeaderMap) -> bool {
    let lists = headers.get_all(CONTENT_ENCODING).iter();
    let mut encodings = lists.flat_map(|list| list.as_bytes().split(|byte| *byte == b','));
    encodings.any(|encoding| {
        let encoding = encoding.trim_ascii();
        // `none` is not registered, but streams are often sent with it, so that proxies don't
        // compress them.
        let plain = [&b""[..], b"identity", b"none"];
        !plain
            .iter()
            .any(|plain| encoding.eq_ignore_ascii_case(plain))
    })
}

/// Returns `true` if the content type contains `word`, such as `json` in
/// `application/problem+json`.
#[cfg(feature = "cache")]
pub(crate) fn type_says(headers: &HeaderMap, word: &[u8]) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| {
        let mut parts = value.as_bytes().windows(word.len());
        parts.any(|part| part.eq_ignore_ascii_case(word))
    })
}

/// Returns the content type without its parameters.
#[cfg(feature = "provider")]
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    let end = memchr::memchr(b';', value).unwrap_or(value.len());
    Some(value[..end].trim_ascii())
}
