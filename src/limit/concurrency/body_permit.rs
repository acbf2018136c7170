//! What the body of a response holds.

use std::fmt;

use super::{
    Permit,
    adaptive::{Latency, SampleOutcome},
};
use crate::http::guarded_body::BodyEvent;

/// The [`Permit`] of a request whose response is being read. Dropping it lets the next request start.
///
/// Under an [adaptive](crate::ConcurrencyLimiter::adaptive) limit it keeps account of the time in which nobody asks for more of the
/// body, which says nothing of the other side: whoever has got a response may let it wait.
#[must_use = "dropping it lets the next request start"]
pub struct BodyPermit {
    permit: Permit,
    /// For how long nobody asked, in nanoseconds; while nobody does, the instant since when, as if that had been in one piece.
    idle: u64,
}

// ===== impl BodyPermit =====

impl BodyPermit {
    /// Of a response about which all has been said.
    #[inline]
    pub(super) const fn new(permit: Permit) -> Self {
        Self { permit, idle: 0 }
    }

    /// Of a response for whose body nobody has asked yet.
    pub(super) fn idle(permit: Permit) -> Self {
        let mut body_permit = Self::new(permit);
        body_permit.set_idle(true);
        body_permit
    }

    /// Only while somebody asks for more of the body is anybody waiting for the other side.
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
        sampler.is_some_and(|sampler| sampler.latency() == Latency::End)
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

impl fmt::Debug for BodyPermit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BodyPermit").field(&self.permit).finish()
    }
}
