//! Axum's body is a stream, whose content is unknown before it is read.

use axum_core::body::Body;

use crate::http::{TextBody, body_macros::stream_body, replace_body::replaced_by_any_bytes};

stream_body!([] Body);
replaced_by_any_bytes!([] Body);

impl TextBody for Body {
    fn from_text(text: String) -> Self {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;
    use crate::http::{PeekBody, ReplaceBody};

    #[test]
    fn only_ended_bodies_can_be_peeked() {
        assert_eq!(Body::from("text").peek(<[u8]>::len), None);
        assert_eq!(Body::empty().peek(<[u8]>::len), Some(0));
        let mut body = Body::empty();
        assert!(body.replace_body(bytes::Bytes::from("text")));
        assert!(!body.is_end_stream());
    }
}
