//! The error of a timeout.

use std::{error::Error, fmt, time::Duration};

use crate::error::{find_source, rejected::BoxError};

/// Error of a call that took longer than its timeout.
///
/// Each variant contains the timeout. It arrives inside the layer's [`BoxError`], or as the
/// error of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TimedOut {
    /// The head of the response did not arrive in time. A retry may repeat the request.
    Attempt(Duration),
    /// The first byte of the response's body did not arrive in time.
    FirstByte(Duration),
    /// No byte of the response's body arrived for this long.
    BetweenChunks(Duration),
    /// The whole call, including retries and the body, did not end in time.
    Call(Duration),
}

// ===== impl TimedOut =====

impl TimedOut {
    /// Returns the timeout.
    #[must_use]
    pub const fn after(&self) -> Duration {
        match *self {
            Self::Attempt(after)
            | Self::FirstByte(after)
            | Self::BetweenChunks(after)
            | Self::Call(after) => after,
        }
    }

    /// Returns the `TimedOut` in this error's chain of sources, if there is one.
    #[must_use]
    pub fn of(error: &BoxError) -> Option<Self> {
        find_source(error).copied()
    }

    /// Returns a stable label, as for metrics: `attempt`, `first_byte`, `between_chunks` or `call`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Attempt(_) => "attempt",
            Self::FirstByte(_) => "first_byte",
            Self::BetweenChunks(_) => "between_chunks",
            Self::Call(_) => "call",
        }
    }

    pub(crate) fn into_error(self) -> BoxError {
        crate::macros::event!(target: "tower_throttle::timeout", timed_out = ?self, "timed out");
        self.into()
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Attempt(after) => write!(f, "no response within {after:?}"),
            Self::FirstByte(after) => write!(f, "no byte of the response body within {after:?}"),
            Self::BetweenChunks(after) => write!(f, "the response body stalled for {after:?}"),
            Self::Call(after) => write!(f, "the call did not finish within {after:?}"),
        }
    }
}

impl Error for TimedOut {}
