//! The source of a response.

use http::{HeaderName, HeaderValue};

use crate::http::ResponseHead;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The source of a response. The layer adds it to the response's extensions.
///
/// The header `Cache-Status` (RFC 9211) has the same information:
///
/// | | `Cache-Status` |
/// | --- | --- |
/// | `Hit` | `tower-throttle; hit; ttl=3540` |
/// | `Miss` | `tower-throttle; fwd=miss; stored` |
/// | `Collapsed` | `tower-throttle; fwd=miss; collapsed` |
/// | `Bypass` | `tower-throttle; fwd=bypass` |
///
/// A miss has `stored` if the response can be cached, `fwd=stale` if the cached response is too
/// old, and `fwd=request` if it is too old for the request.
///
/// It is written before the body is complete. A body that breaks off later is not cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// From the store.
    Hit,
    /// From the inner service.
    Miss,
    /// From the inner service, together with an equal request.
    Collapsed,
    /// From the inner service, since the request is not cached.
    Bypass,
}

// ===== impl Status =====

impl Status {
    /// Returns the source of a response, or `None` if it did not pass through a
    /// [`Cache`](super::Cache).
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Option<Self> {
        response.extensions().get().copied()
    }

    /// Returns a response with this status. `detail` is what `Cache-Status` says about it.
    pub(super) fn mark<B>(
        self,
        mut response: http::Response<B>,
        detail: &str,
    ) -> http::Response<B> {
        if let Ok(value) = HeaderValue::try_from(format!("tower-throttle; {detail}")) {
            // If the map is full, it stays unchanged: the response is more important.
            let _ = response.headers_mut().try_append(CACHE_STATUS, value);
        }
        response.extensions_mut().insert(self);
        response
    }
}
