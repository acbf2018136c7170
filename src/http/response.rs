//! What the layers read of a response, whatever its type.

use http::{Extensions, HeaderMap, StatusCode};

/// A response that has a status, headers and extensions.
///
/// Implemented for [`http::Response`] and, with the feature `reqwest`, for `reqwest::Response`.
#[diagnostic::on_unimplemented(
    note = "the types of `reqwest` need the feature `reqwest`, and those of `axum` and `hyper` the features of that name"
)]
pub trait ResponseHead {
    /// The response's status.
    fn status(&self) -> StatusCode;
    /// The response's headers.
    fn headers(&self) -> &HeaderMap;
    /// The response's extensions.
    fn extensions(&self) -> &Extensions;
    /// The response's extensions, to add to.
    fn extensions_mut(&mut self) -> &mut Extensions;
}

impl<B> ResponseHead for http::Response<B> {
    fn status(&self) -> StatusCode {
        self.status()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn extensions(&self) -> &Extensions {
        self.extensions()
    }

    fn extensions_mut(&mut self) -> &mut Extensions {
        self.extensions_mut()
    }
}
