//! Axum's body is a stream, whose content is unknown before it is read.

use axum_core::body::Body;
use http_body::Body as _;

#[cfg(any(feature = "cache", feature = "provider"))]
use crate::http::PeekBody;
#[cfg(feature = "provider")]
use crate::http::ReplaceBody;
use crate::http::{TextBody, TryClone};

/// Returns `None` if the body has not ended yet: a stream can be read only once.
impl TryClone for Body {
    fn try_clone(&self) -> Option<Self> {
        self.is_end_stream().then(Self::empty)
    }
}

impl TextBody for Body {
    fn from_text(text: String) -> Self {
        text.into()
    }
}

/// Returns `None` if the body has not ended yet: it is boxed as a stream, even if it was created
/// from bytes.
#[cfg(any(feature = "cache", feature = "provider"))]
impl PeekBody for Body {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        self.is_end_stream().then(|| look(&[]))
    }
}

#[cfg(feature = "provider")]
impl ReplaceBody for Body {
    fn replace_body(&mut self, bytes: bytes::Bytes) -> bool {
        *self = bytes.into();
        true
    }
}

#[cfg(feature = "provider")]
#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ended_bodies_can_be_peeked() {
        assert_eq!(Body::from("text").peek(<[u8]>::len), None);
        assert_eq!(Body::empty().peek(<[u8]>::len), Some(0));
        let mut body = Body::empty();
        assert!(body.replace_body(bytes::Bytes::from("text")));
        assert!(!body.is_end_stream());
    }
}
