//! Replaces a request body before it is sent.

use bytes::{Buf, Bytes};
use http::{HeaderMap, HeaderValue, header::CONTENT_LENGTH};
use http_body_util::{Either, Full};

/// A request or a body whose bytes can be replaced before it is sent.
///
/// Implemented for [`http::Request`] with such a body, for bodies that can hold any bytes, and,
/// with the feature of the same name, for `axum` bodies and for `reqwest` bodies and requests.
pub trait ReplaceBody {
    /// Replaces the body. Returns `false` if it can't: a [`String`] accepts only UTF-8, `()`
    /// nothing.
    ///
    /// If the request has a `Content-Length` header, it is updated.
    fn replace_body(&mut self, bytes: Bytes) -> bool;
}

/// Updates `Content-Length`, if it is present.
pub(crate) fn correct_length(headers: &mut HeaderMap, length: usize) {
    // Replaces all lines: two that differ would make the request invalid. Once they are removed,
    // there is room even in a map that was full.
    if headers.remove(CONTENT_LENGTH).is_some() {
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }
}

impl<B: ReplaceBody> ReplaceBody for http::Request<B> {
    fn replace_body(&mut self, bytes: Bytes) -> bool {
        let length = bytes.len();
        let replaced = self.body_mut().replace_body(bytes);
        if replaced {
            correct_length(self.headers_mut(), length);
        }
        replaced
    }
}

/// Implements [`ReplaceBody`] for a body that can hold any bytes.
macro_rules! replaced_by_any_bytes {
    ($([$($generics:tt)*] $body:ty),+) => {$(
        impl<$($generics)*> $crate::http::ReplaceBody for $body {
            fn replace_body(&mut self, bytes: bytes::Bytes) -> bool {
                *self = bytes.into();
                true
            }
        }
    )+};
}

#[cfg(any(feature = "axum", feature = "reqwest"))]
pub(crate) use replaced_by_any_bytes;

replaced_by_any_bytes!([] Bytes, [] Vec<u8>, [D: Buf + From<Bytes>] Full<D>);

impl ReplaceBody for () {
    fn replace_body(&mut self, _: Bytes) -> bool {
        false
    }
}

impl ReplaceBody for String {
    fn replace_body(&mut self, bytes: Bytes) -> bool {
        let text = Self::from_utf8(bytes.into());
        text.map(|text| *self = text).is_ok()
    }
}

impl<L: ReplaceBody, R: ReplaceBody> ReplaceBody for Either<L, R> {
    fn replace_body(&mut self, bytes: Bytes) -> bool {
        match self {
            Self::Left(body) => body.replace_body(bytes),
            Self::Right(body) => body.replace_body(bytes),
        }
    }
}

/// `None` stays `None`.
impl<B: ReplaceBody> ReplaceBody for Option<B> {
    fn replace_body(&mut self, bytes: Bytes) -> bool {
        self.as_mut().is_some_and(|body| body.replace_body(bytes))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::http::peek_body::PeekBody;

    fn replaced<B: ReplaceBody + PeekBody>(mut body: B, by: &'static [u8]) -> (bool, Vec<u8>) {
        let replaced = body.replace_body(Bytes::from_static(by));
        (replaced, body.peek(<[u8]>::to_vec).unwrap())
    }

    #[test]
    fn a_body_takes_what_it_can_hold() {
        let new = (true, b"new".to_vec());
        assert_eq!(replaced(Bytes::from("old"), b"new"), new);
        assert_eq!(replaced(b"old".to_vec(), b"new"), new);
        assert_eq!(replaced(Full::new(Bytes::from("old")), b"new"), new);
        assert_eq!(replaced(String::from("old"), b"new"), new);
        assert_eq!(replaced(Some(String::from("old")), b"new"), new);
        let right = Either::<(), String>::Right(String::from("old"));
        assert_eq!(replaced(right, b"new"), new);
    }

    #[test]
    fn unsupported_bodies_are_unchanged() {
        let old = (false, b"old".to_vec());
        assert_eq!(replaced(String::from("old"), b"\xff"), old);
        assert_eq!(replaced((), b"new"), (false, vec![]));
        assert_eq!(replaced(None::<String>, b"new"), (false, vec![]));
    }

    #[test]
    fn present_content_length_is_updated() {
        let mut request = http::Request::new(String::from("old"));
        assert!(request.replace_body(Bytes::from("newer")));
        assert!(request.headers().is_empty());

        request
            .headers_mut()
            .append(CONTENT_LENGTH, HeaderValue::from(3));
        request
            .headers_mut()
            .append(CONTENT_LENGTH, HeaderValue::from(4));
        assert!(request.replace_body(Bytes::from("newest")));
        let lengths: Vec<_> = request.headers().get_all(CONTENT_LENGTH).iter().collect();
        assert_eq!(lengths, ["6"]);

        // As many names as a map can have.
        for number in 1..24_576 {
            let name = HeaderName::try_from(format!("x-{number}")).unwrap();
            request
                .headers_mut()
                .insert(name, HeaderValue::from_static("a"));
        }
        assert!(request.replace_body(Bytes::from("newest")));

        assert!(!request.replace_body(Bytes::from_static(b"\xff\xff")));
        assert_eq!(request.headers()[CONTENT_LENGTH], "6");
    }
}
