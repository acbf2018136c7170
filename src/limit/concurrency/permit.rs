//! The permit of a request in flight.

use std::sync::Arc;

use super::{
    adaptive::{Latency, SampleOutcome, Sampler},
    slots::Slots,
};
use crate::http::guarded_body::BodyEvent;

/// The permit of a request in flight. If it is dropped, the next request can start.
///
/// Under an [adaptive](crate::ConcurrencyLimiter::adaptive) limit, the holder reports the outcome
/// of the request; a permit without one is ignored. The layer does this itself.
#[must_use = "dropping it lets the next request start"]
pub struct Permit {
    slots: Arc<Slots>,
    /// The start of the request in nanoseconds, and [`BARE`]; or [`UNWATCHED`]. One word, because a
    /// permit of two words is passed in registers, and one of three in memory, which would slow
    /// down fixed limits as well.
    started: u64,
}

/// The limit is fixed, or ignores this request from now on.
const UNWATCHED: u64 = u64::MAX;

/// Bit of a permit whose drop without an outcome is ignored.
const BARE: u64 = 1 << 63;

/// The [`Permit`] of a request whose response body is being read. If it is dropped, the next
/// request can start.
///
/// Under an [adaptive](crate::ConcurrencyLimiter::adaptive) limit it measures the time in which the
/// body is not polled, which is not part of the service's latency.
#[derive(Debug)]
#[must_use = "dropping it lets the next request start"]
pub struct BodyPermit {
    permit: Permit,
    /// How long the body was not polled, in nanoseconds.
    idle: u64,
    /// Since when it is not polled.
    idle_since: Option<u64>,
}

// ===== impl Permit =====

impl Permit {
    /// Returns the permit of a slot that was taken.
    #[inline]
    pub(super) fn new(slots: Arc<Slots>) -> Self {
        let started = slots.sampler().map_or(UNWATCHED, started_now);
        Self { slots, started }
    }

    /// Ignores a drop without an outcome.
    pub(super) const fn bare(mut self) -> Self {
        self.started |= BARE;
        self
    }

    /// Starts the request. Before, the permit only reserves the slot.
    pub(super) fn start(&mut self) {
        if let Some(sampler) = self.sampler() {
            self.started = started_now(sampler);
        }
    }

    /// Reports a response, which ends the measured latency. The permit may be held for longer, for
    /// example for the rest of a stream.
    ///
    /// Only the first report counts. Does nothing under a fixed limit.
    #[inline]
    pub fn succeeded(&mut self) {
        self.tell(SampleOutcome::Answered, 0);
    }

    /// Reports a failure because of too much load, such as a timeout or a rejection, which lowers
    /// the limit.
    ///
    /// Only the first report counts. Does nothing under a fixed limit.
    pub fn overloaded(&mut self) {
        self.tell(SampleOutcome::Overloaded, 0);
    }

    /// Ignores this request.
    pub(super) const fn ignored(&mut self) {
        self.started = UNWATCHED;
    }

    /// Returns the sampler, if there is no outcome yet.
    pub(super) fn sampler(&self) -> Option<&Sampler> {
        let is_awaited = self.started != UNWATCHED;
        self.slots.sampler().filter(|_| is_awaited)
    }

    /// Reports the outcome of a request that was idle for `idle` nanoseconds, in which the response
    /// was not polled.
    #[inline]
    pub(super) fn tell(&mut self, outcome: SampleOutcome, idle: u64) {
        if self.started != UNWATCHED {
            self.report(outcome, idle);
        }
    }

    #[cold]
    fn report(&mut self, outcome: SampleOutcome, idle: u64) {
        let started = self.started & !BARE;
        self.ignored();
        self.slots.report(started, idle, outcome);
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.started & BARE == 0 {
            self.tell(SampleOutcome::Dropped, 0);
        }
        self.slots.give_back();
    }
}

crate::macros::debug!(impl Debug for Permit |self| { in_flight: self.slots.in_flight(), .. });

// ===== impl BodyPermit =====

impl BodyPermit {
    /// Creates the permit of a response. Its body is not polled since `idle_since`, unless its
    /// outcome is known.
    #[inline]
    pub(super) const fn new(permit: Permit, idle_since: Option<u64>) -> Self {
        Self {
            permit,
            idle: 0,
            idle_since,
        }
    }

    /// Between polls the time does not count as latency.
    pub(super) fn watch(&mut self, event: BodyEvent) {
        let Some(sampler) = self.permit.sampler() else {
            return;
        };
        if let Some(since) = self.idle_since.take() {
            self.idle += sampler.now().saturating_sub(since);
        }
        match event {
            BodyEvent::Poll | BodyEvent::Data(_) => {}
            BodyEvent::Frame if sampler.latency == Latency::End => {
                self.idle_since = Some(sampler.now());
            }
            BodyEvent::Frame | BodyEvent::End => {
                self.permit.tell(SampleOutcome::Answered, self.idle);
            }
        }
    }
}

impl Drop for BodyPermit {
    #[inline]
    fn drop(&mut self) {
        match self.idle_since {
            Some(_) => self.permit.ignored(),
            None => self.permit.tell(SampleOutcome::Dropped, self.idle),
        }
    }
}

/// Returns the start of a request that starts now. Not inlined, for the sake of fixed limits.
#[cold]
fn started_now(sampler: &Sampler) -> u64 {
    // The remaining bits are enough for 292 years.
    sampler.now() & !BARE
}
