//! Responses that a provider's answer may be.

use http_body::Body;

use super::ResponseBody;
use crate::ResponseHead;

/// A response whose body can be read by the way.
///
/// `http::Response<B>` becomes `http::Response<ResponseBody<B>>`; with the feature `reqwest`, `reqwest::Response` stays
/// what it is.
#[diagnostic::on_unimplemented(
    note = "the types of `reqwest` need the feature `reqwest`, and those of `axum` and `hyper` the features of that name"
)]
pub trait Answer: ResponseHead + Sized {
    /// The body.
    type Body: Body;

    /// The response with a [`ResponseBody`] around its body.
    type Output;

    /// The same response as one of `http`.
    fn into_http(self) -> http::Response<Self::Body>;

    /// The way back.
    fn from_http(response: http::Response<ResponseBody<Self::Body>>) -> Self::Output;
}

impl<B: Body> Answer for http::Response<B> {
    type Body = B;
    type Output = http::Response<ResponseBody<B>>;

    fn into_http(self) -> Self {
        self
    }

    fn from_http(response: http::Response<ResponseBody<B>>) -> Self::Output {
        response
    }
}
