//! The permit of a request in flight.

use std::{fmt, sync::Arc};

use super::{
    adaptive::{SampleOutcome, Sampler},
    slots::Slots,
};

/// The permit of a request in flight. If it is dropped, the next request can start.
///
/// Under an [adaptive](crate::ConcurrencyLimiter::adaptive) limit, the holder reports the outcome
/// of the request; a permit without one is ignored. The layer does this itself.
#[must_use = "dropping it lets the next request start"]
pub struct Permit {
    slots: Arc<Slots>,
    watch: StartTime,
}

/// The start of the request in nanoseconds, and flags. One word, because a permit of two words is
/// passed in registers, and one of three in memory, which would slow down fixed limits as well.
#[derive(Clone, Copy, PartialEq, Eq)]
struct StartTime(u64);

// ===== impl Permit =====

impl Permit {
    /// Returns the permit of a slot that was taken.
    #[inline]
    pub(super) fn new(slots: Arc<Slots>) -> Self {
        let watch = match slots.sampler() {
            None => StartTime::NOTHING,
            Some(sampler) => StartTime::now(sampler),
        };
        Self { slots, watch }
    }

    /// Returns the permit of a request that the adaptive limit ignores.
    pub(super) const fn unwatched(slots: Arc<Slots>) -> Self {
        let watch = StartTime::NOTHING;
        Self { slots, watch }
    }

    /// Ignores a drop without an outcome.
    pub(super) const fn bare(mut self) -> Self {
        self.watch = StartTime(self.watch.0 | StartTime::BARE);
        self
    }

    /// Starts the request. Before, the permit only reserves the slot.
    pub(super) fn start(&mut self) {
        if let Some(sampler) = self.sampler() {
            self.watch = StartTime::now(sampler);
        }
    }

    /// Returns whether a drop is ignored.
    pub(super) const fn is_bare(&self) -> bool {
        self.watch.0 & StartTime::BARE != 0
    }

    /// Toggles whether a drop is ignored.
    pub(super) const fn turn_over(&mut self) {
        self.watch = StartTime(self.watch.0 ^ StartTime::BARE);
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
        self.watch = StartTime::NOTHING;
    }

    /// Returns the sampler, if there is no outcome yet.
    pub(super) fn sampler(&self) -> Option<&Sampler> {
        let is_awaited = self.watch != StartTime::NOTHING;
        self.slots.sampler().filter(|_| is_awaited)
    }

    /// Reports the outcome of a request that was idle for `idle` nanoseconds, in which the response
    /// was not polled.
    #[inline]
    pub(super) fn tell(&mut self, outcome: SampleOutcome, idle: u64) {
        if self.watch != StartTime::NOTHING {
            self.report(outcome, idle);
        }
    }

    #[cold]
    fn report(&mut self, outcome: SampleOutcome, idle: u64) {
        let started = self.watch.started();
        self.ignored();
        self.slots.report(started, idle, outcome);
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if !self.is_bare() {
            self.tell(SampleOutcome::Dropped, 0);
        }
        self.slots.give_back();
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("in_flight", &self.slots.in_flight())
            .finish_non_exhaustive()
    }
}

// ===== impl StartTime =====

impl StartTime {
    /// The limit is fixed, or ignores this request from now on.
    const NOTHING: Self = Self(u64::MAX);
    /// A drop is ignored.
    const BARE: u64 = 1 << 63;

    /// Not inlined, for the sake of fixed limits.
    #[cold]
    fn now(sampler: &Sampler) -> Self {
        // The remaining bits are enough for 292 years.
        Self(sampler.now() & !Self::BARE)
    }

    const fn started(self) -> u64 {
        self.0 & !Self::BARE
    }
}
