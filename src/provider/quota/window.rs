//! A sliding window that takes back what was not used: sums over 256 parts of the period.
//!
//! A unit counts from its start until the part it started in has left the period whole: for up to 0.4 % of the period
//! too long, never too short. The memory is the same for any limit.

const PARTS: u64 = 256;

/// The parts that a period can touch.
const PLACES: u64 = PARTS + 1;

#[derive(Debug, Clone)]
pub(super) struct Window {
    sums: Box<[u64]>,
    /// The newest part that has a place.
    newest: u64,
    held: u64,
    part_nanos: u64,
}

// ===== impl Window =====

impl Window {
    pub(super) fn new(period: u64, now: u64) -> Self {
        let part_nanos = period.div_ceil(PARTS).max(1);
        Self {
            sums: vec![0; PLACES as usize].into(),
            newest: now / part_nanos,
            held: 0,
            part_nanos,
        }
    }

    /// Lets go of what has left the period.
    pub(super) fn advance(&mut self, now: u64) {
        let part = now / self.part_nanos;
        for next in (self.newest + 1..=part).take(PLACES as usize) {
            self.held -= std::mem::take(self.sum(next));
        }
        self.newest = self.newest.max(part);
    }

    pub(super) fn used(&self) -> u64 {
        self.held
    }

    pub(super) fn take(&mut self, units: u64) {
        let part = self.newest;
        self.add(part, units);
    }

    /// Takes more for what started at `at`.
    pub(super) fn take_at(&mut self, at: u64, units: u64) {
        if let Some(part) = self.part_of(at) {
            self.add(part, units);
        }
    }

    /// Gives back what was taken at `at`, unless it has left the period already.
    pub(super) fn give_back(&mut self, at: u64, units: u64) {
        if let Some(part) = self.part_of(at) {
            let sum = self.sum(part);
            let units = units.min(*sum);
            *sum -= units;
            self.held -= units;
        }
    }

    /// Nanoseconds until at least `units` of those held have left; `None` where fewer are held.
    pub(super) fn until_gone(&self, units: u64, now: u64) -> Option<u64> {
        if units == 0 {
            return Some(0);
        }
        let oldest = self.newest.saturating_sub(PARTS);
        let mut gone = 0;
        let part = (oldest..=self.newest).find(|part| {
            gone += self.sums[(part % PLACES) as usize];
            gone >= units
        })?;
        let leaves = (part + PLACES).saturating_mul(self.part_nanos);
        Some(leaves.saturating_sub(now))
    }

    fn part_of(&self, at: u64) -> Option<u64> {
        let part = at / self.part_nanos;
        (part <= self.newest && self.newest - part < PLACES).then_some(part)
    }

    fn add(&mut self, part: u64, units: u64) {
        // Bounded together with what is held, so that no sum of them overflows.
        let units = units.min(u64::MAX - self.held);
        *self.sum(part) += units;
        self.held += units;
    }

    fn sum(&mut self, part: u64) -> &mut u64 {
        &mut self.sums[(part % PLACES) as usize]
    }
}
