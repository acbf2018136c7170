//! The body of a request that a server has received, for proxies that pass it on.

use hyper::body::Incoming;

#[cfg(any(feature = "cache", feature = "provider"))]
use crate::http::PeekBody;
use crate::http::TryClone;

/// `None`: what is received can be read once.
impl TryClone for Incoming {
    fn try_clone(&self) -> Option<Self> {
        None
    }
}

/// `None` unless the body has ended already: what is received can be read once.
#[cfg(any(feature = "cache", feature = "provider"))]
impl PeekBody for Incoming {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        http_body::Body::is_end_stream(self).then(|| look(&[]))
    }
}
