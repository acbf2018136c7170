//! Sliding window for one thread at a time, with refunds.
//!
//! Each start has its units, in order. The caller sets how long a start counts, and may round
//! starts up to parts of the period, so that there are few: see [`Period`].

use std::collections::VecDeque;

/// The number of parts of a period, if starts are rounded.
const PARTS: u64 = 256;

/// The starts that count, the oldest first.
#[derive(Debug, Clone, Default)]
pub(crate) struct RefundableWindow {
    starts: VecDeque<StartsAt>,
    used: u64,
}

/// Units that started at one instant.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StartsAt {
    at: u64,
    units: u64,
}

/// The time for which a start counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    pub(crate) nanos: u64,
    /// Starts are rounded up to a multiple of this.
    part: u64,
}

// ===== impl Period =====

impl Period {
    /// Does not round starts if it is exact.
    pub(crate) fn of(nanos: u64, is_exact: bool) -> Self {
        match is_exact {
            true => Self { nanos, part: 1 },
            false => Self::in_parts(nanos),
        }
    }

    /// Rounds starts, so that there are at most 257. A unit counts for up to a 256th of the period
    /// too long.
    pub(crate) fn in_parts(nanos: u64) -> Self {
        let part = nanos.div_ceil(PARTS).max(1);
        Self { nanos, part }
    }

    /// Returns the end of the part that `at` is in.
    #[inline]
    pub(crate) fn round_up(&self, at: u64) -> u64 {
        at.div_ceil(self.part).saturating_mul(self.part)
    }

    /// Returns the latest instant to which `at` may be rounded.
    #[cfg(feature = "provider")]
    pub(crate) fn rounded_up(&self, at: u64) -> u64 {
        at.saturating_add(self.part)
    }
}

// ===== impl RefundableWindow =====

impl RefundableWindow {
    /// The maximum count, so that no sum of a few can overflow.
    const MOST: u64 = u64::MAX / 2;

    /// Creates a window with capacity for all the starts of a period [in parts](Period::in_parts).
    #[cfg(feature = "provider")]
    pub(crate) fn with_room() -> Self {
        Self {
            starts: VecDeque::with_capacity(PARTS as usize + 2),
            used: 0,
        }
    }

    /// Returns the instant at which a unit taken at `now` counts as started.
    #[inline]
    pub(crate) fn start(&self, period: &Period, now: u64) -> u64 {
        match self.starts.back() {
            // The newest start is rounded, and `now` is in the part before it. Saves the division.
            Some(newest) if newest.at.wrapping_sub(now) < period.part => newest.at,
            _ => period.round_up(now),
        }
    }

    /// Removes the starts that are a period old.
    #[inline]
    pub(crate) fn advance(&mut self, period: u64, now: u64) {
        while let Some(first) = self.starts.front() {
            if first.at.saturating_add(period) > now {
                break;
            }
            self.used -= first.units;
            self.starts.pop_front();
        }
    }

    /// Returns the units that counted at the last [advance](Self::advance), plus those taken since.
    #[inline]
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// Returns the units that count at `now`.
    #[cfg(any(feature = "per-key", feature = "provider"))]
    pub(crate) fn used_at(&self, period: u64, now: u64) -> u64 {
        let has_left = |start: &&StartsAt| start.at.saturating_add(period) <= now;
        let left = self.starts.iter().take_while(has_left);
        self.used - left.map(|start| start.units).sum::<u64>()
    }

    /// Returns when at least `units` of the used units have left, or `None` if fewer are used.
    pub(crate) fn gone_at(&self, units: u64, period: u64) -> Option<u64> {
        let mut gone = 0;
        let mut last = self.starts.iter().skip_while(|start| {
            gone += start.units;
            gone < units
        });
        last.next().map(|start| start.at.saturating_add(period))
    }

    /// Returns the time until `units` more have all started, each as early as possible, if at most
    /// `capacity` start in a period. To be called after an [advance](Self::advance).
    pub(crate) fn wait(&self, capacity: u64, period: &Period, units: u64, now: u64) -> u64 {
        let Some(before_last) = units.checked_sub(1) else {
            return 0;
        };
        if capacity == 0 {
            return u64::MAX;
        }
        // A unit starts a period after the one that is as many units before it as the capacity.
        let laps = period.nanos.saturating_mul(before_last / capacity);
        let units = before_last % capacity + 1;
        // More than the capacity is used if it was lowered, or more was settled than reserved.
        let free_at = match self.used.saturating_add(units).saturating_sub(capacity) {
            0 => now,
            missing => self.gone_at(missing, period.nanos).unwrap_or(now),
        };
        free_at.saturating_sub(now).saturating_add(laps)
    }

    /// Returns when all used units have left.
    #[cfg(any(
        feature = "per-key",
        feature = "provider",
        all(test, not(throttle_loom), feature = "redis")
    ))]
    pub(crate) fn empty_at(&self, period: u64) -> u64 {
        let last = self.starts.back();
        last.map_or(0, |last| last.at.saturating_add(period))
    }

    /// Takes units that [started](Self::start) at `at`.
    #[inline]
    pub(crate) fn take(&mut self, at: u64, units: u64) {
        let units = units.min(Self::MOST - self.used);
        self.used += units;
        match self.starts.back_mut() {
            // Nearly always the newest.
            Some(newest) if newest.at == at => newest.units += units,
            _ => self.insert(at, units),
        }
    }

    fn insert(&mut self, at: u64, units: u64) {
        match self.starts.binary_search_by_key(&at, |start| start.at) {
            Ok(found) => self.starts[found].units += units,
            Err(_) if units == 0 => {}
            Err(place) => self.starts.insert(place, StartsAt { at, units }),
        }
    }

    /// Moves the starts later than `latest` to `at`, since the clock went back.
    #[cfg(all(test, not(throttle_loom), feature = "redis"))]
    pub(crate) fn move_back(&mut self, latest: u64, at: u64) {
        let mut units = 0;
        while let Some(newest) = self.starts.back().filter(|newest| newest.at > latest) {
            units += newest.units;
            self.starts.pop_back();
        }
        self.used -= units;
        self.take(at, units);
    }

    /// Returns units that started at `at`, unless they have left already.
    pub(crate) fn give_back(&mut self, at: u64, units: u64) {
        if let Ok(found) = self.starts.binary_search_by_key(&at, |start| start.at) {
            let start = &mut self.starts[found];
            let units = units.min(start.units);
            start.units -= units;
            self.used -= units;
            if start.units == 0 {
                self.starts.remove(found);
            }
        }
    }

    /// Returns instants and units, the oldest first.
    #[cfg(feature = "redis")]
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.starts.iter().map(|start| (start.at, start.units))
    }

    #[cfg(all(test, not(throttle_loom), feature = "per-key"))]
    pub(crate) fn starts(&self) -> usize {
        self.starts.len()
    }
}
