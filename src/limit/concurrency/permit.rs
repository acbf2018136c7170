//! What a request in flight holds.

use std::{fmt, sync::Arc};

use super::{
    adaptive::{SampleOutcome, Sampler},
    slots::Slots,
};

/// One request in flight. Dropping it lets the next one start.
///
/// Under an [adaptive](crate::ConcurrencyLimiter::adaptive) limit, the one who holds it says what came of the request; where nothing
/// is said, nothing is learned. Layers say it by themselves.
#[must_use = "dropping it lets the next request start"]
pub struct Permit {
    slots: Arc<Slots>,
    watch: StartTime,
}

/// When the request started, in nanoseconds, and what is known of it. One word: of two words a permit travels in registers, of three
/// through memory, which fixed limits would pay for, too.
#[derive(Clone, Copy, PartialEq, Eq)]
struct StartTime(u64);

// ===== impl Permit =====

impl Permit {
    /// For a slot that was taken.
    #[inline]
    pub(super) fn new(slots: Arc<Slots>) -> Self {
        let watch = match slots.sampler() {
            None => StartTime::NOTHING,
            Some(sampler) => StartTime::now(sampler),
        };
        Self { slots, watch }
    }

    /// For a slot that was taken by a request from which nothing is learned.
    pub(super) const fn unwatched(slots: Arc<Slots>) -> Self {
        let watch = StartTime::NOTHING;
        Self { slots, watch }
    }

    /// Whoever holds this may drop it without a word.
    pub(super) const fn bare(mut self) -> Self {
        self.watch = StartTime(self.watch.0 | StartTime::BARE);
        self
    }

    /// The request starts only now. Until then the permit was no more than a turn.
    pub(super) fn start(&mut self) {
        if let Some(sampler) = self.sampler() {
            self.watch = StartTime::now(sampler);
        }
    }

    /// Whether a drop says nothing.
    pub(super) const fn is_bare(&self) -> bool {
        self.watch.0 & StartTime::BARE != 0
    }

    /// From here on a drop says something if it said nothing, and nothing if it said something.
    pub(super) const fn turn_over(&mut self) {
        self.watch = StartTime(self.watch.0 ^ StartTime::BARE);
    }

    /// The request was answered: its latency ends here. The permit may be held for longer, such as for the rest of a stream.
    ///
    /// Only the first word counts. Without effect where the limit is fixed.
    #[inline]
    pub fn succeeded(&mut self) {
        self.tell(SampleOutcome::Answered, 0);
    }

    /// The request has failed because of too much load on the other side, such as by a timeout or a refusal. The limit goes down.
    ///
    /// Only the first word counts. Without effect where the limit is fixed.
    pub fn overloaded(&mut self) {
        self.tell(SampleOutcome::Overloaded, 0);
    }

    /// Nothing is learned from this one.
    pub(super) const fn ignored(&mut self) {
        self.watch = StartTime::NOTHING;
    }

    /// The sampler, if the outcome is still to be told.
    pub(super) fn sampler(&self) -> Option<&Sampler> {
        let is_awaited = self.watch != StartTime::NOTHING;
        self.slots.sampler().filter(|_| is_awaited)
    }

    /// Tells the outcome of a request, for `idle` nanoseconds of which nobody waited for the response.
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
    /// The limit is fixed, or learns nothing (more) from this. A drop says nothing, either.
    const NOTHING: Self = Self(u64::MAX);
    /// A drop says nothing.
    const BARE: u64 = 1 << 63;

    /// Out of the way of fixed limits.
    #[cold]
    fn now(sampler: &Sampler) -> Self {
        // 292 years are enough.
        Self(sampler.now() & !Self::BARE)
    }

    const fn started(self) -> u64 {
        self.0 & !Self::BARE
    }
}
