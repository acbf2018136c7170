use http::Request;
use http_body::Body;

use super::ReplayBody;
use crate::BoxError;

/// A request whose body can be recorded while it is sent.
///
/// Implemented for [`http::Request`] and, with the feature `reqwest`, for `reqwest::Request`, which can't show a body of another
/// type and becomes an `http::Request`.
#[diagnostic::on_unimplemented(
    note = "the types of `reqwest` need the feature `reqwest`, and those of `axum` and `hyper` the features of that name"
)]
pub trait IntoReplay {
    /// The type of the body.
    type Body;

    /// The same request, of whose body up to `max_bytes` are recorded.
    ///
    /// # Errors
    ///
    /// Where the request can't be an `http::Request`.
    fn into_replay(self, max_bytes: usize) -> Result<Request<ReplayBody<Self::Body>>, BoxError>;
}

impl<B: Body> IntoReplay for Request<B> {
    type Body = B;

    fn into_replay(self, max_bytes: usize) -> Result<Request<ReplayBody<B>>, BoxError> {
        Ok(self.map(|body| ReplayBody::new(body, max_bytes)))
    }
}
