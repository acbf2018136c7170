//! Responses whose body can be replaced.

use http_body::Body;

use crate::http::response::ResponseHead;

/// A response that can be split into a head and a body.
///
/// Implemented for [`http::Response`] and, with the feature `reqwest`, for `reqwest::Response`.
#[diagnostic::on_unimplemented(
    note = "enable the feature `reqwest`, `axum` or `hyper` for the types of that crate",
    note = "a concurrency limit for responses that are not HTTP needs `.until_response()`"
)]
pub trait IntoHttp: ResponseHead + Sized {
    /// The body type.
    type Body: Body;

    /// Converts the response to a response of `http`.
    fn into_http(self) -> http::Response<Self::Body>;
}

/// A response that can have a body of type `B` instead of its own, such as a wrapper of it.
///
/// `http::Response<X>` becomes `http::Response<B>`; with the feature `reqwest`, `reqwest::Response`
/// keeps its type.
#[diagnostic::on_unimplemented(
    note = "enable the feature `reqwest`, `axum` or `hyper` for the types of that crate",
    note = "a concurrency limit for responses that are not HTTP needs `.until_response()`"
)]
pub trait WithBody<B>: IntoHttp {
    /// The response type with that body.
    type Output;

    /// The inverse of [`into_http`](IntoHttp::into_http).
    fn from_http(response: http::Response<B>) -> Self::Output;
}

/// Replaces the body of `response` by the result of `map`.
#[inline]
pub(crate) fn map_body<R: WithBody<B>, B>(
    response: R,
    map: impl FnOnce(R::Body) -> B,
) -> R::Output {
    R::from_http(response.into_http().map(map))
}

impl<X: Body> IntoHttp for http::Response<X> {
    type Body = X;

    fn into_http(self) -> Self {
        self
    }
}

impl<X: Body, B> WithBody<B> for http::Response<X> {
    type Output = http::Response<B>;

    fn from_http(response: http::Response<B>) -> Self::Output {
        response
    }
}
