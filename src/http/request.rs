//! What the layers read of a request, whatever its type.

use http::{Extensions, HeaderMap, Method};

/// A request that has a method, a URL and headers.
///
/// Implemented for [`http::Request`] and, with the feature `reqwest`, for `reqwest::Request`.
#[diagnostic::on_unimplemented(
    note = "the types of `reqwest` need the feature `reqwest`, and those of `axum` and `hyper` the features of that name"
)]
pub trait RequestHead {
    /// The request's method.
    fn method(&self) -> &Method;
    /// The request's headers.
    fn headers(&self) -> &HeaderMap;
    /// The request's headers, to change.
    fn headers_mut(&mut self) -> &mut HeaderMap;

    /// The scheme of the request's URL, such as `https`. None unless told otherwise, or where the URL is a path alone.
    fn scheme(&self) -> Option<&str> {
        None
    }

    /// The path of the request's URL. Empty unless told otherwise.
    fn path(&self) -> &str {
        ""
    }

    /// What stands behind the `?` in the request's URL. None unless told otherwise.
    fn query(&self) -> Option<&str> {
        None
    }

    /// The host and port of the request's URL. None unless told otherwise, or where the URL is a path alone.
    fn authority(&self) -> Option<&str> {
        None
    }

    /// The request's extensions. The default returns `None`, as for `reqwest::Request`, whose
    /// extensions are private.
    fn extensions(&self) -> Option<&Extensions> {
        None
    }
}

impl<B> RequestHead for http::Request<B> {
    fn method(&self) -> &Method {
        self.method()
    }

    fn headers(&self) -> &HeaderMap {
        self.headers()
    }

    fn headers_mut(&mut self) -> &mut HeaderMap {
        self.headers_mut()
    }

    fn scheme(&self) -> Option<&str> {
        self.uri().scheme_str()
    }

    fn path(&self) -> &str {
        self.uri().path()
    }

    fn query(&self) -> Option<&str> {
        self.uri().query()
    }

    fn authority(&self) -> Option<&str> {
        self.uri().authority().map(http::uri::Authority::as_str)
    }

    fn extensions(&self) -> Option<&Extensions> {
        Some(self.extensions())
    }
}
