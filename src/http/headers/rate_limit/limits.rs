//! The rate limits that a response reports.

use std::{fmt, time::Duration};

/// The period of a daily quota.
pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// The longest period below a day that a provider uses: Anthropic's.
const LONGEST_WINDOW: Duration = Duration::from_secs(5 * 60 * 60);
/// The longest wait after which a retry makes sense.
const BEARABLE: Duration = Duration::from_secs(2 * 60);

/// What a limit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dimension {
    /// Requests.
    Requests,
    /// Tokens, input and output together.
    Tokens,
    /// Input tokens.
    InputTokens,
    /// Output tokens.
    OutputTokens,
    /// Requests in flight.
    Concurrency,
}

/// One rate limit that a response reports. Each part may be missing, and none is capped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Reported {
    /// What the limit counts.
    pub dimension: Dimension,
    /// The period, if the response or its family of headers names one.
    pub period: Option<Duration>,
    /// The limit.
    pub limit: Option<u64>,
    /// The remaining units.
    pub remaining: Option<u64>,
    /// The time until the limit is restored in full; zero if that instant has passed.
    pub reset: Option<Duration>,
}

/// The rate limits that a response reports, in its order.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use http::HeaderMap;
/// use tower_throttle::{Dimension, RateLimits};
///
/// let mut headers = HeaderMap::new();
/// headers.insert("x-ratelimit-limit-requests", "60".parse()?);
/// headers.insert("x-ratelimit-remaining-requests", "59".parse()?);
/// headers.insert("x-ratelimit-reset-requests", "1s".parse()?);
/// let limits = RateLimits::from_headers(&headers);
/// let requests = limits.iter().next().unwrap();
/// assert_eq!(requests.dimension, Dimension::Requests);
/// assert_eq!(requests.remaining, Some(59));
/// assert_eq!(requests.reset, Some(Duration::from_secs(1)));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct RateLimits {
    reported: [Option<Reported>; RateLimits::MOST],
}

// ===== impl RateLimits =====

impl RateLimits {
    /// More limits than any provider reports; any others are dropped.
    pub(crate) const MOST: usize = 8;

    /// Returns each limit.
    pub fn iter(&self) -> impl Iterator<Item = &Reported> {
        self.reported.iter().flatten()
    }

    /// Returns `true` if no limit is reported.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reported[0].is_none()
    }

    /// Returns the limits that are used up.
    pub(crate) fn used_up(&self) -> impl Iterator<Item = &Reported> {
        self.iter().filter(|limit| limit.remaining == Some(0))
    }

    /// Returns the time until all limits that are used up are restored.
    pub(crate) fn reset(&self) -> Option<Duration> {
        self.used_up().filter_map(|limit| limit.reset).max()
    }

    /// Returns whether a rejection is by the quota of a day or longer. A short wait, or else a
    /// short reset, shows that it refills continuously. `is_named` is set if its message says so.
    pub(crate) fn is_daily(&self, wait: Option<Duration>, is_named: bool) -> bool {
        let is_long =
            |limit: &Reported| limit.period >= Some(DAY) || limit.reset > Some(LONGEST_WINDOW);
        match wait.or_else(|| self.reset()) {
            Some(wait) if wait <= BEARABLE => false,
            Some(wait) if wait > LONGEST_WINDOW => true,
            _ => is_named || self.used_up().any(is_long),
        }
    }

    pub(crate) fn push(&mut self, reported: Reported) {
        if let Some(free) = self.reported.iter_mut().find(|place| place.is_none()) {
            *free = Some(reported);
        }
    }
}

// ===== impl Dimension =====

impl Dimension {
    /// Returns a stable label, as for metrics: `requests`, `tokens`, `input_tokens`,
    /// `output_tokens` or `concurrency`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::InputTokens => "input_tokens",
            Self::OutputTokens => "output_tokens",
            Self::Concurrency => "concurrency",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.as_str().replace('_', " "))
    }
}
