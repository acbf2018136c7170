//! A server's hint about retries.

use std::time::Duration;

use super::ResponseHead;

/// The hints about retries in a response's headers, without any cap.
///
/// Created by [`Hint::from_headers`]. A layer that has read the body inserts one with the wait that
/// it found into the response's extensions, which takes precedence. A
/// [`RetryAfterBackoff`](crate::RetryAfterBackoff) and a custom classifier each apply their own
/// cap.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use http::HeaderMap;
/// use tower_throttle::Hint;
///
/// let mut headers = HeaderMap::new();
/// headers.insert("retry-after", "2".parse()?);
/// headers.insert("retry-after-ms", "1500".parse()?);
/// let hint = Hint::from_headers(&headers);
/// assert_eq!(hint.retry_after(), Some(Duration::from_millis(1_500)));
/// assert_eq!(hint.should_retry(), None);
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Hint {
    retry_after: Option<Duration>,
    should_retry: Option<bool>,
}

impl Hint {
    /// Creates a hint, for a custom [`Classify`](crate::Classify).
    #[must_use]
    pub const fn new(retry_after: Option<Duration>, should_retry: Option<bool>) -> Self {
        Self {
            retry_after,
            should_retry,
        }
    }

    /// Returns the hint in a response's extensions, or else in its headers.
    pub(crate) fn of<R: ResponseHead + ?Sized>(response: &R) -> Self {
        let told = Self::from_headers(response.headers());
        let read = response.extensions().get::<Self>().copied();
        let read = read.unwrap_or_default();
        Self {
            retry_after: read.retry_after.or(told.retry_after),
            should_retry: read.should_retry.or(told.should_retry),
        }
    }

    /// Returns how long to wait before a retry.
    ///
    /// Zero if the server named zero or an instant that has passed; `None` if there is no valid
    /// value.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns whether the server has requested or forbidden a retry.
    #[must_use]
    pub const fn should_retry(&self) -> Option<bool> {
        self.should_retry
    }
}
