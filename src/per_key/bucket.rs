//! A caller's bucket, in two numbers.

use std::time::Duration;

use crate::{Decision, algorithm::gcra::Refill, rejected::Standing};

/// A token bucket that may change its quota: what was used stays used, in units.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bucket {
    /// The instant at which it will be full.
    full_at: u64,
    /// What a unit took to refill when that was written.
    unit_nanos: u64,
}

/// What became of it, and how the bucket stands after.
#[derive(Debug, Clone, Copy)]
pub(super) struct Taken {
    pub(super) decision: Decision,
    refill: Refill,
    /// Nanoseconds until it is full.
    debt: u64,
}

// ===== impl Bucket =====

impl Bucket {
    pub(super) const FULL: Self = Self {
        full_at: 0,
        unit_nanos: 1,
    };

    pub(super) fn full_at(&self) -> u64 {
        self.full_at
    }

    /// The units that have not refilled yet.
    pub(super) fn used(&self, now: u64) -> u64 {
        self.full_at.saturating_sub(now).div_ceil(self.unit_nanos)
    }

    pub(super) fn take(&mut self, cost: u64, refill: Refill, now: u64) -> Taken {
        self.refill_by(&refill, now);
        let decision = if cost == 0 {
            Decision::Admit
        } else if cost > refill.capacity() {
            Decision::Never
        } else {
            match refill.take(self.full_at, now, cost, now) {
                Ok(full_at) => {
                    self.full_at = full_at;
                    Decision::Admit
                }
                Err(wait) => Decision::Wait(Duration::from_nanos(wait)),
            }
        };
        let debt = self.full_at.saturating_sub(now);
        Taken {
            decision,
            refill,
            debt,
        }
    }

    /// Whether it was last taken from by a quota that refills like this.
    pub(super) fn refills_by(&self, refill: &Refill) -> bool {
        self.unit_nanos == refill.unit_nanos()
    }

    /// Says in the time of another quota what has been used in that of the last one, rounded up. More than an empty bucket's
    /// worth can't be used, so that nobody is locked out for longer than the new quota takes to refill whole.
    pub(super) fn refill_by(&mut self, refill: &Refill, now: u64) {
        let unit_nanos = refill.unit_nanos();
        if unit_nanos == self.unit_nanos {
            return;
        }
        let debt = u128::from(self.full_at.saturating_sub(now));
        let debt = (debt * u128::from(unit_nanos)).div_ceil(u128::from(self.unit_nanos));
        let most = refill.capacity().saturating_mul(unit_nanos);
        let debt = u64::try_from(debt).unwrap_or(u64::MAX).min(most);
        self.full_at = now.saturating_add(debt);
        self.unit_nanos = unit_nanos;
    }
}

// ===== impl Taken =====

impl Taken {
    pub(super) fn capacity(&self) -> u64 {
        self.refill.capacity()
    }

    pub(super) fn standing(&self) -> Standing {
        let (capacity, unit_nanos) = (self.refill.capacity(), self.refill.unit_nanos());
        Standing {
            quota: capacity,
            window: Duration::from_nanos(capacity.saturating_mul(unit_nanos)),
            remaining: capacity.saturating_sub(self.debt.div_ceil(unit_nanos)),
            reset: Duration::from_nanos(self.debt),
        }
    }
}
