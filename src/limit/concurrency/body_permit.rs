//! The permit in a response's body.

use super::{
    Permit,
    adaptive::{Latency, SampleOutcome},
};
use crate::http::guarded_body::BodyEvent;

/// The [`Permit`] of a request whose response body is being read. If it is dropped, the next
/// request can start.
///
/// Under an [adaptive](crate::ConcurrencyLimiter::adaptive) limit it measures the time in which the
/// body is not polled, which is not part of the service's latency.
#[derive(Debug)]
#[must_use = "dropping it lets the next request start"]
pub struct BodyPermit {
    permit: Permit,
    /// The time without a poll, in nanoseconds. While the body is not polled: the start of that
    /// time, minus the earlier times.
    idle: u64,
}

// ===== impl BodyPermit =====

impl BodyPermit {
    /// Creates the permit of a response whose outcome is known.
    #[inline]
    pub(super) const fn new(permit: Permit) -> Self {
        Self { permit, idle: 0 }
    }

    /// Creates the permit of a response whose body was not polled yet.
    pub(super) fn idle(permit: Permit) -> Self {
        let mut body_permit = Self::new(permit);
        body_permit.set_idle(true);
        body_permit
    }

    /// Between polls the time does not count as latency.
    pub(super) fn watch(&mut self, event: BodyEvent) {
        self.set_idle(false);
        match event {
            BodyEvent::Poll => {}
            BodyEvent::Frame if self.is_measured_to_the_end() => self.set_idle(true),
            BodyEvent::Frame | BodyEvent::End => {
                self.permit.tell(SampleOutcome::Answered, self.idle)
            }
        }
    }

    fn is_measured_to_the_end(&self) -> bool {
        let sampler = self.permit.sampler();
        sampler.is_some_and(|sampler| sampler.latency == Latency::End)
    }

    fn set_idle(&mut self, is_idle: bool) {
        if self.permit.is_bare() == is_idle {
            return;
        }
        if let Some(sampler) = self.permit.sampler() {
            self.idle = sampler.now().saturating_sub(self.idle);
            self.permit.turn_over();
        }
    }
}

impl Drop for BodyPermit {
    #[inline]
    fn drop(&mut self) {
        if !self.permit.is_bare() {
            self.permit.tell(SampleOutcome::Dropped, self.idle);
        }
    }
}
