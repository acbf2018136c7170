//! What a request in flight holds.

use std::{fmt, sync::Arc};

use super::{
    adaptive::{Latency, Outcome, Sampler},
    slots::Slots,
};

/// One request in flight. Dropping it lets the next one start.
///
/// Under an [adaptive](crate::ConcurrencyLimiter::adaptive) limit, the one who holds it says what came of the request; where nothing
/// is said, nothing is learned. Layers say it by themselves.
#[must_use = "dropping it lets the next request start"]
pub struct Permit {
    slots: Arc<Slots>,
    watch: Watch,
    /// How long nobody worked for the request; while nobody does, the instant since when, as if that had been in one piece.
    idle: u64,
}

/// When the request started, in nanoseconds, and what is known of it: one word, since it travels in every future.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Watch(u64);

// ===== impl Permit =====

impl Permit {
    /// For a slot that was taken.
    #[inline]
    pub(super) fn new(slots: Arc<Slots>) -> Self {
        let watch = match slots.sampler() {
            None => Watch::NOTHING,
            Some(sampler) => Watch::now(sampler),
        };
        Self {
            slots,
            watch,
            idle: 0,
        }
    }

    /// For a slot that was taken by a request from which nothing is learned.
    pub(super) const fn unwatched(slots: Arc<Slots>) -> Self {
        Self {
            slots,
            watch: Watch::NOTHING,
            idle: 0,
        }
    }

    /// Whoever holds this may drop it without a word.
    pub(super) const fn bare(mut self) -> Self {
        self.watch = self.watch.with(Watch::BARE);
        self
    }

    /// From here on nobody works for the request: the time that passes is no latency, and a drop says nothing.
    pub(super) fn pause(&mut self) {
        if !self.watch.has(Watch::BARE) {
            self.turn_over();
        }
    }

    /// Ends a pause.
    pub(super) fn resume(&mut self) {
        if self.watch.has(Watch::BARE) {
            self.turn_over();
        }
    }

    fn turn_over(&mut self) {
        let is_awaited = !self.watch.has(Watch::TOLD);
        if let Some(sampler) = self.slots.sampler().filter(|_| is_awaited) {
            self.idle = sampler.now().saturating_sub(self.idle);
            self.watch = Watch(self.watch.0 ^ Watch::BARE);
        }
    }

    /// The request was answered: its latency ends here. The permit may be held for longer, such as for the rest of a stream.
    ///
    /// Only the first word counts. Without effect where the limit is fixed.
    #[inline]
    pub fn succeeded(&mut self) {
        self.tell(Outcome::Answered);
    }

    /// The request has failed because of too much load on the other side, such as by a timeout or a refusal. The limit goes down.
    ///
    /// Only the first word counts. Without effect where the limit is fixed.
    pub fn overloaded(&mut self) {
        self.tell(Outcome::Overloaded);
    }

    /// Nothing is to be learned from this one.
    pub(super) const fn ignored(&mut self) {
        self.watch = self.watch.with(Watch::TOLD);
    }

    /// Which latency somebody waits to be told, if somebody does.
    pub(super) fn awaited(&self) -> Option<Latency> {
        let is_awaited = !self.watch.has(Watch::TOLD);
        let sampler = self.slots.sampler().filter(|_| is_awaited)?;
        Some(sampler.latency())
    }

    #[inline]
    fn tell(&mut self, outcome: Outcome) {
        if !self.watch.has(Watch::TOLD) {
            self.report(outcome);
        }
    }

    #[cold]
    fn report(&mut self, outcome: Outcome) {
        self.ignored();
        self.slots.report(self.watch.started(), self.idle, outcome);
    }

    #[cold]
    fn end(&mut self) {
        if !self.watch.has(Watch::BARE) {
            self.tell(Outcome::Dropped);
        }
        if let Some(sampler) = self.slots.sampler() {
            sampler.release(self.watch.started());
        }
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.watch != Watch::NOTHING {
            self.end();
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

// ===== impl Watch =====

impl Watch {
    /// The limit is fixed, or does not learn from this. All has been said, too.
    const NOTHING: Self = Self(u64::MAX);
    /// Nothing more is to be said.
    const TOLD: u64 = 1 << 62;
    /// A drop says nothing.
    const BARE: u64 = 1 << 63;

    /// Out of the way of fixed limits.
    #[cold]
    fn now(sampler: &Sampler) -> Self {
        // 146 years are enough.
        Self(sampler.now() & (Self::TOLD - 1))
    }

    const fn started(self) -> u64 {
        self.0 & (Self::TOLD - 1)
    }

    const fn has(self, flag: u64) -> bool {
        self.0 & flag != 0
    }

    const fn with(self, flag: u64) -> Self {
        Self(self.0 | flag)
    }
}
