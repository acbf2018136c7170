//! What a caller is told whose call was not made.

use std::{error::Error, fmt, time::Duration};

use crate::Outcome;

/// A call was not made, since those before it have failed: its [`Circuit`](crate::Circuit) is open.
///
/// It arrives inside the layer's [`BoxError`](crate::BoxError). It never means that the *other* side refused: the request
/// was not sent. A retry does not repeat it, and it has no [`Outcome`].
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

    /// How long from the refusal until a call is let through to find out whether all is well again.
    ///
    /// `None` where such a call is on its way already.
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
        f.write_str("not called, since calls before this one have failed: ")?;
        match self.retry_after {
            Some(wait) => write!(f, "to be tried again in {wait:?}"),
            None => f.write_str("one call is finding out whether all is well again"),
        }
    }
}

impl Error for CircuitOpen {}
