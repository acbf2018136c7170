//! Responses whose body can be exchanged for another one.

use http_body::Body;

use crate::http::response::ResponseHead;

/// A response that can be taken apart into a head and a body.
///
/// Implemented for [`http::Response`] and, with the feature `reqwest`, for `reqwest::Response`.
#[diagnostic::on_unimplemented(
    note = "the types of `reqwest` need the feature `reqwest`, and those of `axum` and `hyper` the features of that name",
    note = "a concurrency limit for responses that are not HTTP needs `.until_response()`"
)]
pub trait IntoHttp: ResponseHead + Sized {
    /// The body.
    type Body: Body;

    /// The same response as one of `http`.
    fn into_http(self) -> http::Response<Self::Body>;
}

/// A response that can have a body of the type `B` in place of its own, such as a layer's own type around it.
///
/// `http::Response<X>` becomes `http::Response<B>`; with the feature `reqwest`, `reqwest::Response` stays what it is.
#[diagnostic::on_unimplemented(
    note = "the types of `reqwest` need the feature `reqwest`, and those of `axum` and `hyper` the features of that name",
    note = "a concurrency limit for responses that are not HTTP needs `.until_response()`"
)]
pub trait WithBody<B>: IntoHttp {
    /// The response with that body.
    type Output;

    /// The way back from [`into_http`](IntoHttp::into_http).
    fn from_http(response: http::Response<B>) -> Self::Output;
}

/// Returns `response` with the body that `map` makes of its own.
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
