//! Whether a body is what it says, or has to be unpacked first.

use http::{HeaderMap, header::CONTENT_ENCODING};

/// Whether the body that `headers` announce is encoded in any way.
pub(crate) fn is_compressed(headers: &HeaderMap) -> bool {
    let plain = |encoding: &[u8]| encoding.trim_ascii().eq_ignore_ascii_case(b"identity");
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    !encodings.all(|encoding| plain(encoding.as_bytes()))
}
