use std::{error::Error, fmt, time::Duration};

use crate::{
    error::{BoxError, find_source},
    http::ResponseHead,
};

/// The number of attempts that a response or an error took, and the wait between them.
///
/// It is in the extensions of a response that took more than one attempt. For any other response
/// [`Attempts::of`] returns one attempt. Errors hold it if the layer has
/// [`attempts_in_errors`](crate::RetryAfterBackoffLayer::attempts_in_errors).
///
/// # Examples
///
/// ```
/// use tower_throttle::retry::Attempts;
///
/// let response = http::Response::new(());
/// assert_eq!(Attempts::of(&response).attempts(), 1);
/// ```
///
/// Of an error:
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use std::io;
/// use http::{Request, Response};
/// use tower::{Layer, ServiceExt, service_fn};
/// use tower_throttle::{RetryAfterBackoffLayer, retry::Attempts};
///
/// let server = service_fn(async |_: Request<()>| {
///     Err::<Response<()>, _>(io::Error::from(io::ErrorKind::ConnectionRefused))
/// });
/// let layer = RetryAfterBackoffLayer::new().attempts(3).attempts_in_errors();
///
/// let error = layer.layer(server).oneshot(Request::new(())).await.unwrap_err();
/// assert_eq!(Attempts::of_error(&error).unwrap().attempts(), 3);
/// assert_eq!(error.to_string(), "connection refused");
/// assert!(error.source().unwrap().is::<io::Error>());
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempts {
    attempts: u32,
    total_delay: Duration,
}

/// The error of the last attempt.
#[derive(Debug)]
struct LastError {
    error: BoxError,
    attempts: Attempts,
}

// ===== impl Attempts =====

impl Attempts {
    pub(super) const FIRST: Self = Self {
        attempts: 1,
        total_delay: Duration::ZERO,
    };

    /// Returns the attempts of this response.
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Self {
        let attempts = response.extensions().get();
        attempts.copied().unwrap_or(Self::FIRST)
    }

    /// Returns the attempts of this error, or of one in its chain of sources, if the layer has
    /// [`attempts_in_errors`](crate::RetryAfterBackoffLayer::attempts_in_errors).
    #[must_use]
    pub fn of_error(error: &BoxError) -> Option<Self> {
        find_source::<LastError>(error).map(|error| error.attempts)
    }

    /// Returns how many times the request was sent, including the last one. At least 1.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the sum of the waits between the attempts, without the attempts themselves.
    #[must_use]
    pub const fn total_delay(&self) -> Duration {
        self.total_delay
    }

    pub(super) fn add(&mut self) {
        self.attempts = self.attempts.saturating_add(1);
    }

    pub(super) fn wait(&mut self, wait: Duration) {
        self.total_delay = self.total_delay.saturating_add(wait);
    }

    pub(super) fn wrap(self, error: BoxError) -> BoxError {
        let attempts = self;
        Box::new(LastError { error, attempts })
    }
}

// ===== impl LastError =====

impl fmt::Display for LastError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl Error for LastError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.error)
    }
}
