//! What a server said about when to come back.

use std::time::Duration;

/// What a response's headers say about trying again, as they say it: no ceiling is applied.
///
/// Read with [`Hint::from_headers`]. A [`RetryAfterBackoff`](crate::RetryAfterBackoff) and a classifier of your own
/// each apply their own ceiling.
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
    /// A hint that says this, for a [`Classify`](crate::Classify) of your own.
    #[must_use]
    pub const fn new(retry_after: Option<Duration>, should_retry: Option<bool>) -> Self {
        Self {
            retry_after,
            should_retry,
        }
    }

    /// How long the server wants to be left alone.
    ///
    /// Zero where it said at once, or named an instant that has passed. `None` where it said nothing that can be read.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Whether the server said in so many words that the request should be repeated, or should not.
    #[must_use]
    pub const fn should_retry(&self) -> Option<bool> {
        self.should_retry
    }
}
