//! The number of requests in flight and its limit.

use std::time::Duration;

use crate::limit::{Decision, nanos};

/// Requests in flight, with a limit that was configured, reported, or found from rejections.
#[derive(Debug, Default)]
pub(super) struct RequestsInFlight {
    pub(super) count: u64,
    pub(super) limit: Option<u64>,
    given: Option<u64>,
    /// The limit while nothing is known of the provider; it doubles with each response.
    pub(super) probe: Option<u64>,
    /// When a rejection last changed the limit. It is raised by one a period later.
    lowered: Option<u64>,
    /// Rejections of requests that were in flight at that time may not lower the limit further.
    floor: u64,
}

// ===== impl RequestsInFlight =====

impl RequestsInFlight {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            limit,
            given: limit,
            floor: 1,
            ..Self::default()
        }
    }

    pub(super) fn due(&self) -> Decision {
        let is_full = |limit: Option<u64>| limit.is_some_and(|limit| self.count >= limit);
        if is_full(self.limit) || is_full(self.probe) {
            Decision::WAIT_FOR_OTHERS
        } else {
            Decision::Admit
        }
    }

    /// Raises a lowered limit towards the configured one when a request starts, if learning is off.
    #[inline]
    pub(super) fn recover(&mut self, period: Duration, now: u64) {
        if self.limit < self.given {
            self.try_one_more(period, now);
        }
    }

    /// Raises a lowered limit by one if all of it is in use a period later, up to a configured one.
    fn try_one_more(&mut self, period: Duration, now: u64) {
        let is_over = |lowered| now.saturating_sub(lowered) > nanos(period);
        if self.lowered.is_some_and(is_over) {
            let may_rise = |limit: &&mut u64| {
                self.count >= **limit && self.given.is_none_or(|given| **limit < given)
            };
            if let Some(limit) = self.limit.as_mut().filter(may_rise) {
                *limit += 1;
                self.lowered = Some(now);
            }
        }
    }

    /// Handles a response.
    pub(super) fn answered(&mut self, period: Duration, now: u64) {
        self.probe = self.probe.map(|probe| probe.saturating_mul(2));
        self.try_one_more(period, now);
    }

    /// Handles a rejection for too many concurrent requests, of a request sent at `sent` that has
    /// ended. The limit becomes at most the number of the other requests in flight.
    pub(super) fn too_many(&mut self, sent: u64, now: u64) {
        if self.lowered.is_none_or(|lowered| sent > lowered) {
            self.floor = self.limit.unwrap_or(1).div_ceil(2);
        }
        let most = self.count.max(self.floor).max(1);
        if self.limit.is_none_or(|limit| most < limit) {
            self.limit = Some(most);
        }
        self.lowered = Some(now);
    }

    /// Handles a rejection before any limit was known.
    pub(super) fn refused(&mut self) {
        self.probe = self.probe.map(|probe| (probe / 2).max(1));
    }

    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = Some(limit);
        self.lowered = None;
    }
}
