//! What a limiter decides about one request at one instant.

use std::time::Duration;

use crate::error::{LimitKind, Rejected};

/// The decision of a limiter: now, later, or never.
///
/// Only [`Admit`](Decision::Admit) means that the limiter's state has changed. Decisions are
/// ordered by how long a request waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[must_use = "an admission that is not used is lost capacity"]
pub enum Decision {
    /// It may start now, and has been counted.
    Admit,
    /// It does not fit now. Everything that is ahead of it, including waiting requests, leaves room
    /// for it after this long; a request with a cost above 1 may find that it is somewhat longer.
    Wait(Duration),
    /// It costs more than the limit ever holds. Waiting never helps.
    Never,
}

impl Decision {
    /// Wait until other requests end, which can be at any time.
    pub(crate) const WAIT_FOR_OTHERS: Self = Self::Wait(Duration::MAX);

    /// Wait for this long, or not at all if it is zero.
    #[inline]
    pub(crate) const fn after(nanos: u64) -> Self {
        match nanos {
            0 => Self::Admit,
            nanos => Self::Wait(Duration::from_nanos(nanos)),
        }
    }

    /// Whether the request may start now.
    #[must_use]
    pub const fn is_admit(&self) -> bool {
        matches!(self, Self::Admit)
    }

    /// Returns the time until the request fits, if it is known.
    pub(crate) fn wait(self) -> Option<Duration> {
        match self {
            Self::Admit => Some(Duration::ZERO),
            Self::Wait(wait) => Some(wait).filter(|_| self != Self::WAIT_FOR_OTHERS),
            Self::Never => None,
        }
    }

    /// Returns the rejection by `limit` of a request that does not wait, unless it may start.
    #[inline]
    pub(crate) fn or_reject(
        self,
        limit: LimitKind,
        cost: u64,
        capacity: u64,
    ) -> Result<(), Rejected> {
        if self.is_admit() {
            return Ok(());
        }
        Err(self.rejection(limit, cost, capacity))
    }

    /// Returns the rejection by `limit` of a request that may not start.
    pub(crate) fn rejection(self, limit: LimitKind, cost: u64, capacity: u64) -> Rejected {
        match self {
            Self::Never => Rejected::never(limit, cost, capacity),
            _ => Rejected::too_long(limit, self.wait()),
        }
    }
}
