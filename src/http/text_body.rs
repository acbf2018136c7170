//! Response bodies that can be created from a text.

use bytes::Buf;
use http_body_util::{
    BodyExt, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

/// A response body that can be created from a text.
///
/// Implemented for bodies of `http-body-util`, for `String`, with the feature `axum` for its body,
/// and for this crate's wrappers of these, such as a [`GuardedBody`](crate::body::GuardedBody).
/// Implement it for your own body types; for types of other crates use
/// [`AsResponseWith`](crate::rejection::AsResponseWith).
pub trait TextBody {
    /// Creates a body with this text.
    fn from_text(text: String) -> Self;
}

// ===== impl Text =====

// ===== impl TextBody =====

impl TextBody for String {
    fn from_text(text: String) -> Self {
        text
    }
}

impl<D: Buf + From<String>> TextBody for Full<D> {
    fn from_text(text: String) -> Self {
        Full::new(text.into())
    }
}

impl<D, E> TextBody for BoxBody<D, E>
where
    D: Buf + From<String> + Send + Sync + 'static,
    E: 'static,
{
    fn from_text(text: String) -> Self {
        let body = Full::from_text(text).map_err(|never| match never {});
        body.boxed()
    }
}

impl<D, E> TextBody for UnsyncBoxBody<D, E>
where
    D: Buf + From<String> + Send + 'static,
    E: 'static,
{
    fn from_text(text: String) -> Self {
        let body = Full::from_text(text).map_err(|never| match never {});
        body.boxed_unsync()
    }
}
