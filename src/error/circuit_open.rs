//! The error of a call that an open circuit rejected.

use std::{error::Error, fmt, time::Duration};

use crate::error::{BoxError, Outcome, find_source};

/// Error of a call that was rejected because the circuit breaker is open.
///
/// It arrives inside the layer's [`BoxError`](crate::BoxError). It never means that the server
/// rejected the request, since nothing was sent. A retry does not repeat it, and it has no
/// [`Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CircuitOpen {
    retry_after: Option<Duration>,
    opened_by: Option<Outcome>,
}

// ===== impl CircuitOpen =====

impl CircuitOpen {
    pub(crate) const fn new(retry_after: Option<Duration>, opened_by: Option<Outcome>) -> Self {
        Self {
            retry_after,
            opened_by,
        }
    }

    /// Returns the `CircuitOpen` in this error's chain of sources, if there is one.
    #[must_use]
    pub fn of(error: &BoxError) -> Option<Self> {
        find_source(error).copied()
    }

    /// Returns the time from the rejection until a probe is admitted.
    ///
    /// `None` if a probe is under way.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }

    /// Returns the failure that opened the circuit, if it is known.
    #[must_use]
    pub const fn opened_by(&self) -> Option<Outcome> {
        self.opened_by
    }
}

impl fmt::Display for CircuitOpen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("circuit breaker is open: ")?;
        match self.retry_after {
            Some(wait) => write!(f, "retry in {wait:?}"),
            None => f.write_str("a probe is under way"),
        }
    }
}

impl Error for CircuitOpen {}
