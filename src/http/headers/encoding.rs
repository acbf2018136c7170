//! Content type and content encoding.

#[cfg(any(feature = "cache", feature = "provider"))]
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, header::CONTENT_TYPE};

#[cfg(any(feature = "cache", feature = "provider"))]
use super::list;

/// Returns `true` if the body with these headers is encoded in any way.
#[cfg(any(feature = "cache", feature = "provider"))]
pub(crate) fn is_compressed(headers: &HeaderMap) -> bool {
    list(headers, &CONTENT_ENCODING).any(|encoding| {
        // `none` is not registered, but streams are often sent with it, so that proxies don't
        // compress them.
        let mut plain = [&b""[..], b"identity", b"none"].into_iter();
        !plain.any(|plain| encoding.eq_ignore_ascii_case(plain))
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
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(CONTENT_TYPE)?.as_bytes();
    let mut parts = value.split(|byte| *byte == b';');
    parts.next().map(<[u8]>::trim_ascii)
}
