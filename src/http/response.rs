//! Access to the head of a response of any type.

use http::{Extensions, HeaderMap, StatusCode};

/// A response with a status, headers and extensions.
///
/// Implemented for [`http::Response`] and, with the feature `reqwest`, for `reqwest::Response`.
#[diagnostic::on_unimplemented(
    note = "enable the feature `reqwest`, `axum` or `hyper` for the types of that crate",
    note = "a fallback or circuit breaker for responses that are not HTTP needs `.any_response()`"
)]
pub trait ResponseHead {
    /// Returns the status.
    fn status(&self) -> StatusCode;
    /// Returns the headers.
    fn headers(&self) -> &HeaderMap;
    /// Returns the extensions.
    fn extensions(&self) -> &Extensions;
    /// Returns the extensions, mutable.
    fn extensions_mut(&mut self) -> &mut Extensions;
}

/// Implements [`ResponseHead`] by the inherent methods of the same names.
macro_rules! response_head {
    ([$($generics:tt)*] $response:ty) => {
        impl<$($generics)*> $crate::http::ResponseHead for $response {
            fn status(&self) -> http::StatusCode {
                self.status()
            }

            fn headers(&self) -> &http::HeaderMap {
                self.headers()
            }

            fn extensions(&self) -> &http::Extensions {
                self.extensions()
            }

            fn extensions_mut(&mut self) -> &mut http::Extensions {
                self.extensions_mut()
            }
        }
    };
}

#[cfg(feature = "reqwest")]
pub(crate) use response_head;

response_head!([B] http::Response<B>);

/// The URL of a response whose type has one, while it is a response of `http`.
#[derive(Clone)]
#[cfg(any(feature = "cache", feature = "reqwest"))]
#[cfg_attr(
    not(all(feature = "cache", feature = "reqwest")),
    allow(dead_code, reason = "one writes it, the other one keeps it")
)]
pub(crate) struct ResponseUrl {
    /// In the form of that type.
    pub(crate) extensions: Extensions,
    /// In bytes.
    pub(crate) size: usize,
}
