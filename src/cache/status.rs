//! How a caller can tell where an answer came from.

use std::time::Duration;

use http::{HeaderName, HeaderValue, header::AGE};

use crate::ResponseHead;

const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// The largest integer of a structured field.
const MOST: u64 = 999_999_999_999_999;

/// Where an answer came from, as the layer leaves it in the response's extensions.
///
/// The header `Cache-Status` says the same to those who are further away, as RFC 9211 has it:
///
/// | | `Cache-Status` |
/// | --- | --- |
/// | `Hit` | `tower-throttle; hit; ttl=3540` |
/// | `Miss` | `tower-throttle; fwd=miss; stored`, without `stored` where the answer is not one to keep; `fwd=stale` where the one that was kept is too old, and `fwd=request` where it is too old for this request |
/// | `Collapsed` | `tower-throttle; fwd=miss; collapsed` |
/// | `Bypass` | `tower-throttle; fwd=bypass` |
///
/// It is written before the body has come. An answer that breaks off later is not kept, whatever its head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Status {
    /// It was there.
    Hit,
    /// The inner service was asked.
    Miss,
    /// The inner service had been asked the same a moment before, and both got its answer.
    Collapsed,
    /// The request is not one that the cache has to do with.
    Bypass,
}

/// What a response is told.
#[derive(Debug, Clone, Copy)]
pub(super) enum Told {
    Hit { age: u64, ttl: Duration },
    Miss { why: Why, is_stored: bool },
    Collapsed,
    Bypass,
}

/// Why the inner service was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Missing,
    Stale,
    Request,
}

// ===== impl Status =====

impl Status {
    /// Where this response came from, or `None` if it did not pass a [`Cache`](super::Cache).
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Option<Self> {
        response.extensions().get().copied()
    }
}

// ===== impl Told =====

impl Told {
    pub(super) fn note<B>(self, response: &mut http::Response<B>) {
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
        use Why::{Missing, Request, Stale};
        Some(HeaderValue::from_static(match self {
            Self::Hit { ttl, .. } if ttl == Duration::MAX => "tower-throttle; hit",
            Self::Hit { ttl, .. } => {
                let value = format!("tower-throttle; hit; ttl={}", ttl.as_secs().min(MOST));
                return HeaderValue::try_from(value).ok();
            }
            Self::Miss { why, is_stored } => match (why, is_stored) {
                (Missing, true) => "tower-throttle; fwd=miss; stored",
                (Missing, false) => "tower-throttle; fwd=miss",
                (Stale, true) => "tower-throttle; fwd=stale; stored",
                (Stale, false) => "tower-throttle; fwd=stale",
                (Request, true) => "tower-throttle; fwd=request; stored",
                (Request, false) => "tower-throttle; fwd=request",
            },
            Self::Collapsed => "tower-throttle; fwd=miss; collapsed",
            Self::Bypass => "tower-throttle; fwd=bypass",
        }))
    }
}
