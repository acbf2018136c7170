use std::time::Duration;

use crate::http::ResponseHead;

/// The number of attempts that a response took, and the wait between them.
///
/// It is in the extensions of a response that took more than one attempt. For any other response
/// [`Attempts::of`] returns one attempt.
///
/// # Examples
///
/// ```
/// use tower_throttle::retry::Attempts;
///
/// let response = http::Response::new(());
/// assert_eq!(Attempts::of(&response).attempts(), 1);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Attempts {
    attempts: u32,
    total_delay: Duration,
}

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
}
