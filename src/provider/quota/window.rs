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
    /// When the newest part begins and ends: most of the time nothing has to be divided.
    begins: u64,
    ends: u64,
    /// Its place.
    here: usize,
}

// ===== impl Window =====

impl Window {
    pub(super) fn new(period: u64, now: u64) -> Self {
        let part_nanos = period.div_ceil(PARTS).max(1);
        Self {
            sums: vec![0; PLACES as usize].into(),
            newest: 0,
            held: 0,
            part_nanos,
            begins: 0,
            ends: 0,
            here: 0,
        }
        .at(now)
    }

    fn at(mut self, now: u64) -> Self {
        self.advance(now);
        self
    }

    /// Lets go of what has left the period.
    #[inline]
    pub(super) fn advance(&mut self, now: u64) {
        if now >= self.ends {
            self.turn(now);
        }
    }

    fn turn(&mut self, now: u64) {
        let part = now / self.part_nanos;
        self.begins = part * self.part_nanos;
        self.ends = self.begins.saturating_add(self.part_nanos);
        for next in (self.newest + 1..=part).take(PLACES as usize) {
            self.held -= std::mem::take(&mut self.sums[place_of(next)]);
        }
        self.newest = self.newest.max(part);
        self.here = place_of(self.newest);
    }

    pub(super) fn used(&self) -> u64 {
        self.held
    }

    #[inline]
    pub(super) fn take(&mut self, units: u64) {
        self.add(self.here, units);
    }

    /// Takes more for what started at `at`.
    pub(super) fn take_at(&mut self, at: u64, units: u64) {
        if let Some(place) = self.place(at) {
            self.add(place, units);
        }
    }

    /// Gives back what was taken at `at`, unless it has left the period already.
    #[inline]
    pub(super) fn give_back(&mut self, at: u64, units: u64) {
        if let Some(place) = self.place(at) {
            let sum = &mut self.sums[place];
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
            gone += self.sums[place_of(*part)];
            gone >= units
        })?;
        let leaves = (part + PLACES).saturating_mul(self.part_nanos);
        Some(leaves.saturating_sub(now))
    }

    /// The place of what started at `at`, if it has not left.
    #[inline]
    fn place(&self, at: u64) -> Option<usize> {
        if at >= self.begins {
            return Some(self.here);
        }
        let part = at / self.part_nanos;
        (self.newest - part < PLACES).then(|| place_of(part))
    }

    #[inline]
    fn add(&mut self, place: usize, units: u64) {
        // Bounded together with what is held, so that no sum of them overflows.
        let units = units.min(u64::MAX - self.held);
        self.sums[place] += units;
        self.held += units;
    }
}

fn place_of(part: u64) -> usize {
    (part % PLACES) as usize
}
