//! Collects the parts of one limit.

use std::time::Duration;

use crate::http::headers::rate_limit::limits::{Dimension, Reported};

/// The parts of one limit found so far; of duplicates, the more restrictive. A limit with a
/// negative count is unknown.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Set {
    pub(super) limit: Option<u64>,
    remaining: Option<u64>,
    reset: Option<Duration>,
    /// Takes precedence over the reset.
    pub(super) reset_after: Option<Duration>,
    is_unknown: bool,
}

// ===== impl Set =====

impl Set {
    /// Returns the limit with this limit, remainder, and reset in seconds.
    pub(super) fn of([limit, remaining, reset]: [Option<i64>; 3]) -> Self {
        let mut set = Self::default();
        set.limit(limit.map(i128::from));
        set.remaining(remaining.map(i128::from));
        set.reset(reset.and_then(seconds));
        set
    }

    pub(super) fn limit(&mut self, count: Option<i128>) {
        self.is_unknown |= lower(&mut self.limit, count);
    }

    pub(super) fn remaining(&mut self, count: Option<i128>) {
        self.is_unknown |= lower(&mut self.remaining, count);
    }

    pub(super) fn reset(&mut self, reset: Option<Duration>) {
        self.reset = self.reset.max(reset);
    }

    /// Returns the limit without contradictory parts; `None` if nothing is known.
    pub(super) fn reported(
        self,
        dimension: Dimension,
        period: Option<Duration>,
    ) -> Option<Reported> {
        let reset = self.reset_after.or(self.reset);
        let is_empty = self.limit.is_none() && self.remaining.is_none() && reset.is_none();
        if self.is_unknown || is_empty {
            return None;
        }
        let most = self.limit.unwrap_or(u64::MAX);
        Some(Reported {
            dimension,
            period,
            limit: self.limit,
            remaining: self.remaining.filter(|remaining| *remaining <= most),
            reset,
        })
    }
}

pub(super) fn seconds(number: i64) -> Option<Duration> {
    Some(Duration::from_secs(number.try_into().ok()?))
}

/// Keeps the smaller number. Returns `true` if `count` is negative.
fn lower(least: &mut Option<u64>, count: Option<i128>) -> bool {
    let known = count.and_then(|count| u64::try_from(count).ok());
    *least = [*least, known].into_iter().flatten().min();
    count.is_some_and(i128::is_negative)
}
