//! Axum's body is a stream of which nothing is known until it is read, or is known to have ended.

use axum_core::body::Body;
use http_body::Body as _;

#[cfg(any(feature = "cache", feature = "provider"))]
use crate::http::PeekBody;
#[cfg(feature = "provider")]
use crate::http::ReplaceBody;
use crate::http::{TextBody, TryClone};

/// `None` unless the body has ended already: what it streams can be read once.
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

/// `None` unless the body has ended already: it is boxed as a stream, whatever it was made of.
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
    fn only_a_body_that_has_ended_shows_its_bytes() {
        assert_eq!(Body::from("text").peek(<[u8]>::len), None);
        assert_eq!(Body::empty().peek(<[u8]>::len), Some(0));
        let mut body = Body::empty();
        assert!(body.replace_body(bytes::Bytes::from("text")));
        assert!(!body.is_end_stream());
    }
}
