//! How many requests are in flight, and how many may be.

use crate::limit::Decision;

/// Requests in flight, under a limit that was given, told, or found by being refused.
#[derive(Debug, Clone)]
pub(super) struct RequestsInFlight {
    pub(super) count: u64,
    pub(super) limit: Option<u64>,
    given: Option<u64>,
    /// While nothing is known of the provider: few, and twice as many with each answer.
    probe: Option<u64>,
    /// When the limit was last changed by a refusal; one more is tried a period later.
    lowered: Option<u64>,
    /// How far the refusals of what was under way then may lower it: one that comes late says little.
    floor: u64,
}

// ===== impl RequestsInFlight =====

impl RequestsInFlight {
    pub(super) fn new(limit: Option<u64>) -> Self {
        Self {
            count: 0,
            limit,
            given: limit,
            probe: None,
            lowered: None,
            floor: 1,
        }
    }

    /// Whether to feel one's way, knowing nothing.
    pub(super) fn probe(&mut self, probes: bool) {
        self.probe = probes.then_some(1);
    }

    pub(super) fn due(&self) -> Decision {
        let is_full = |limit: Option<u64>| limit.is_some_and(|limit| self.count >= limit);
        if is_full(self.limit) || is_full(self.probe) {
            Decision::WAIT_FOR_OTHERS
        } else {
            Decision::Admit
        }
    }

    pub(super) fn start(&mut self) {
        self.count += 1;
    }

    /// One has started, where nothing is learned: back to the limit that was given, one by one.
    #[inline]
    pub(super) fn recover(&mut self, period: u64, now: u64) {
        if self.limit < self.given {
            self.try_one_more(period, now);
        }
    }

    /// One more than what a refusal has left, if all of that is in use a period later.
    fn try_one_more(&mut self, period: u64, now: u64) {
        let is_over = |lowered| now.saturating_sub(lowered) > period;
        if !self.lowered.is_some_and(is_over) {
            return;
        }
        if let Some(limit) = self.limit.as_mut().filter(|limit| self.count >= **limit) {
            *limit += 1;
            self.lowered = Some(now);
        }
    }

    pub(super) fn end(&mut self) {
        self.count = self.count.saturating_sub(1);
    }

    /// An answer has come: `tells` if it spoke of limits.
    pub(super) fn answered(&mut self, tells: bool, period: u64, now: u64) {
        self.probe = self
            .probe
            .filter(|_| !tells)
            .map(|probe| probe.saturating_mul(2));
        self.try_one_more(period, now);
    }

    /// One that was sent at `sent` was refused for being too many, and has left. The others are as many as there may be, if
    /// not fewer.
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

    /// One was refused before anything was known.
    pub(super) fn refused(&mut self) {
        self.probe = self.probe.map(|probe| (probe / 2).max(1));
    }

    pub(super) fn set_limit(&mut self, limit: u64) {
        self.limit = Some(limit);
        self.lowered = None;
    }
}
