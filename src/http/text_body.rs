//! Bodies that can be made of a text.

use std::convert::Infallible;

use bytes::Buf;
use http_body_util::{
    BodyExt, Full,
    combinators::{BoxBody, UnsyncBoxBody},
};

/// A response's body that can be made of a text.
///
/// There for bodies of `http-body-util`, for `String`, for axum's with the feature `axum`, and for what the layers of this crate
/// make of these, such as a [`GuardedBody`](crate::GuardedBody). For your own it is a line to write; for somebody else's there is
/// [`AsResponseWith`](crate::rejection::AsResponseWith).
pub trait TextBody {
    /// A body of all of `text`.
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
        Full::from_text(text).map_err(never).boxed()
    }
}

impl<D, E> TextBody for UnsyncBoxBody<D, E>
where
    D: Buf + From<String> + Send + 'static,
    E: 'static,
{
    fn from_text(text: String) -> Self {
        Full::from_text(text).map_err(never).boxed_unsync()
    }
}

fn never<E>(error: Infallible) -> E {
    match error {}
}
