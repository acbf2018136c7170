//! What a limiter says to one request at one instant.

use std::time::Duration;

/// The answer of a limiter: now, later, or never.
///
/// Only [`Admit`](Decision::Admit) means that the limiter's state has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[must_use = "an admission that nobody acts on is capacity lost"]
pub enum Decision {
    /// It may start now, and has been counted.
    Admit,
    /// It does not fit now. Everything that is ahead of it, those who wait included, leaves room for it after this
    /// long; a request with a cost above 1 may find that it is somewhat longer.
    Wait(Duration),
    /// It costs more than the limit ever holds. Waiting never helps.
    Never,
}

impl Decision {
    /// Whether the request may start now.
    #[must_use]
    pub const fn is_admit(&self) -> bool {
        matches!(self, Self::Admit)
    }
}
