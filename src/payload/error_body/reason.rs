//! The limit that an error is about.

use std::time::Duration;

use crate::error::Outcome;

/// The kind of limit for which a provider rejected a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ThrottleReason {
    /// Too many requests or tokens in a short time: wait.
    Rate,
    /// Too many requests or tokens in a day or a month: no reasonable wait helps.
    Day,
    /// The credit or the spending limit is used up.
    QuotaExhausted,
    /// The request is larger than the limit: no wait helps.
    TooLarge,
    /// Too many concurrent requests.
    Concurrency,
    /// The load rose too fast.
    Ramp,
    /// The provider is overloaded, independently of the client's limits.
    Capacity,
}

/// An error response for an exceeded limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LimitError {
    pub(crate) class: ThrottleReason,
    /// The wait, from the most specific source: a header, a field of the body, the reset of a limit
    /// that is used up, the message.
    pub(crate) retry_after: Option<Duration>,
    /// The provider's code or type, as one line of at most 200 characters.
    pub(crate) code: Option<Box<str>>,
    /// The provider's message, as one line of at most 200 characters.
    pub(crate) message: Option<Box<str>>,
}

// ===== impl ThrottleReason =====

impl ThrottleReason {
    /// Returns a stable label, as for metrics: `rate`, `day`, `quota_exhausted`, `too_large`,
    /// `concurrency`, `ramp` or `capacity`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Day => "day",
            Self::QuotaExhausted => "quota_exhausted",
            Self::TooLarge => "too_large",
            Self::Concurrency => "concurrency",
            Self::Ramp => "ramp",
            Self::Capacity => "capacity",
        }
    }

    /// Returns the outcome of such a rejection.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Rate | Self::Concurrency | Self::Ramp => Outcome::RateLimited,
            Self::Day | Self::QuotaExhausted => Outcome::QuotaExhausted,
            Self::TooLarge => Outcome::ClientError,
            Self::Capacity => Outcome::Overloaded,
        }
    }

    /// Returns `true` if no retry can succeed.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::Day | Self::QuotaExhausted | Self::TooLarge)
    }
}

/// Returns one line of at most 200 characters, for a log or a terminal: anybody may have written
/// the text.
pub(super) fn line(text: &str) -> Option<Box<str>> {
    const MOST: usize = 200;
    let words = text.split(is_gap).filter(|word| !word.is_empty());
    let spaced = words.flat_map(|word| [" ", word]).flat_map(str::chars);
    let line: String = spaced.skip(1).take(MOST).collect();
    let line = line.trim_end();
    (!line.is_empty()).then(|| line.into())
}

/// Returns `true` for white space, and for what is not seen but moves, hides or reorders what is.
fn is_gap(character: char) -> bool {
    let is_format = matches!(
        character,
        '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    ) || "\u{ad}\u{61c}\u{180e}\u{feff}".contains(character);
    is_format || character.is_whitespace() || character.is_control()
}
