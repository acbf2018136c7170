use std::time::Duration;

use crate::http::ResponseHead;

/// How many attempts a response took, and how long was waited between them.
///
/// It stands in the extensions of a response that took more than one. A response of the first attempt is left as it is;
/// [`Attempts::of`] knows that.
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

    /// What this response took.
    #[must_use]
    pub fn of<R: ResponseHead>(response: &R) -> Self {
        let attempts = response.extensions().get();
        attempts.copied().unwrap_or(Self::FIRST)
    }

    /// How many times the request was sent, the last one included. At least 1.
    #[must_use]
    pub const fn attempts(&self) -> u32 {
        self.attempts
    }

    /// The sum of the waits between the attempts, without the time that the attempts themselves took.
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
