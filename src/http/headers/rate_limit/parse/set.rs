//! Collects the parts of one limit.

use std::time::Duration;

use crate::http::headers::rate_limit::limits::{Dimension, Reported};

/// A count, or a negative number for an unknown one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReportedCount {
    Of(u64),
    /// A negative number.
    Unknown,
}

/// The parts of one limit found so far; of duplicates, the more restrictive.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Set {
    pub(super) limit: Option<u64>,
    remaining: Option<u64>,
    pub(super) reset: Option<Duration>,
    is_unknown: bool,
}

// ===== impl Set =====

impl Set {
    pub(super) fn limit(&mut self, count: Option<ReportedCount>) {
        let limit = self.known(count);
        self.limit = least(self.limit, limit);
    }

    pub(super) fn remaining(&mut self, count: Option<ReportedCount>) {
        let remaining = self.known(count);
        self.remaining = least(self.remaining, remaining);
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
        let is_empty = self.limit.is_none() && self.remaining.is_none() && self.reset.is_none();
        if self.is_unknown || is_empty {
            return None;
        }
        let most = self.limit.unwrap_or(u64::MAX);
        Some(Reported {
            dimension,
            period,
            limit: self.limit,
            remaining: self.remaining.filter(|remaining| *remaining <= most),
            reset: self.reset,
        })
    }

    fn known(&mut self, count: Option<ReportedCount>) -> Option<u64> {
        match count? {
            ReportedCount::Of(number) => Some(number),
            ReportedCount::Unknown => {
                self.is_unknown = true;
                None
            }
        }
    }
}

// ===== impl ReportedCount =====

impl From<i64> for ReportedCount {
    fn from(number: i64) -> Self {
        u64::try_from(number).map_or(Self::Unknown, Self::Of)
    }
}

fn least(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    [one, other].into_iter().flatten().min()
}
