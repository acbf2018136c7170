//! Body of a request that a server has received, for proxies.

use hyper::body::Incoming;

use crate::http::{PeekBody, TryClone};

/// Returns `None`: a received body can be read only once.
impl TryClone for Incoming {
    fn try_clone(&self) -> Option<Self> {
        None
    }
}

/// Returns `None` if the body has not ended yet: a received body can be read only once.
impl PeekBody for Incoming {
    fn peek<T>(&self, look: impl FnOnce(&[u8]) -> T) -> Option<T> {
        http_body::Body::is_end_stream(self).then(|| look(&[]))
    }
}
