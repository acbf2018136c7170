//! Where a response came from.

use std::time::Duration;

use http::{HeaderName, HeaderValue, header::AGE};

use crate::http::ResponseHead;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The largest integer of a structured field.
const MOST: u64 = 999_999_999_999_999;

/// Where a response came from. The layer adds it to the response's extensions.
///
/// The header `Cache-Status` (RFC 9211) says the same:
///
/// | | `Cache-Status` |
/// | --- | --- |
/// | `Hit` | `tower-throttle; hit; ttl=3540` |
/// | `Miss` | `tower-throttle; fwd=miss; stored` |
/// | `Collapsed` | `tower-throttle; fwd=miss; collapsed` |
/// | `Bypass` | `tower-throttle; fwd=bypass` |
///
/// A miss says `stored` if the response can be cached, `fwd=stale` if the cached response is too
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

/// The status with what `Cache-Status` says about it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Detail {
    Hit { age: u64, ttl: Duration },
    Miss { why: Why, is_stored: bool },
    Collapsed,
    Bypass,
}

/// Why the inner service is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Missing,
    Stale,
    Request,
}

// ===== impl Status =====

impl Status {
    /// Returns where a response came from, or `None` if it did not pass a [`Cache`](super::Cache).
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Option<Self> {
        response.extensions().get().copied()
    }
}

// ===== impl Detail =====

impl Detail {
    pub(super) fn add_to<B>(self, response: &mut http::Response<B>) {
        let headers = response.headers_mut();
        if let Self::Hit { age, .. } = self {
            headers.insert(AGE, age.into());
        }
        if let Some(value) = self.header() {
            headers.append(CACHE_STATUS, value);
        }
        response.extensions_mut().insert(self.status());
    }

    const fn status(self) -> Status {
        match self {
            Self::Hit { .. } => Status::Hit,
            Self::Miss { .. } => Status::Miss,
            Self::Collapsed => Status::Collapsed,
            Self::Bypass => Status::Bypass,
        }
    }

    fn header(self) -> Option<HeaderValue> {
        let text = match self {
            Self::Hit { ttl, .. } if ttl == Duration::MAX => "hit".to_owned(),
            Self::Hit { ttl, .. } => format!("hit; ttl={}", ttl.as_secs().min(MOST)),
            Self::Miss { why, is_stored } => {
                let why = match why {
                    Why::Missing => "miss",
                    Why::Stale => "stale",
                    Why::Request => "request",
                };
                let stored = if is_stored { "; stored" } else { "" };
                format!("fwd={why}{stored}")
            }
            Self::Collapsed => "fwd=miss; collapsed".to_owned(),
            Self::Bypass => "fwd=bypass".to_owned(),
        };
        HeaderValue::try_from(format!("tower-throttle; {text}")).ok()
    }
}
