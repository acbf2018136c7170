//! Access to the head of a request of any type.

use http::{Extensions, HeaderMap, Method};

/// A request with a method, a URL and headers.
///
/// Implemented for [`http::Request`] and, with the feature `reqwest`, for `reqwest::Request`.
#[diagnostic::on_unimplemented(
    note = "enable the feature `reqwest`, `axum` or `hyper` for the types of that crate"
)]
pub trait RequestHead {
    /// Returns the method.
    fn method(&self) -> &Method;
    /// Returns the headers.
    fn headers(&self) -> &HeaderMap;
    /// Returns the headers, mutable.
    fn headers_mut(&mut self) -> &mut HeaderMap;

    /// Returns the scheme of the URL, such as `https`; `None` if the URL is only a path. The
    /// default returns `None`.
    fn scheme(&self) -> Option<&str> {
        None
    }

    /// Returns the path of the URL. The default returns an empty string.
    fn path(&self) -> &str {
        ""
    }

    /// Returns the query of the URL, after the `?`. The default returns `None`.
    fn query(&self) -> Option<&str> {
        None
    }

    /// Returns the host and port of the URL; `None` if the URL is only a path. The default returns
    /// `None`.
    fn authority(&self) -> Option<&str> {
        None
    }

    /// Returns the extensions. The default returns `None`, as for `reqwest::Request`, whose
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
