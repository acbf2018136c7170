//! Measures the inflow into a bucket that other clients fill as well.
//!
//! The level of a bucket tells neither who filled it nor how much has drained. The inflow over time
//! does: it is the rise of the level plus what has drained.

/// Below 1/`SHALLOW` of the bucket there is plenty, and it may have been empty for a while.
const SHALLOW: u64 = 8;

/// Two earlier readings, one of them at least half a period old once that is possible.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tide {
    older: TideLevel,
    newer: TideLevel,
}

/// The level of the bucket when a request arrived.
#[derive(Debug, Clone, Copy)]
pub(super) struct TideLevel {
    /// When the request was sent. The provider counts it at about that time, whenever its response
    /// arrives.
    pub(super) sent: u64,
    pub(super) used: u64,
    /// All units ever admitted from this client, including this request.
    pub(super) ours: u64,
}

/// The recent inflow: of all clients, and of this one.
pub(super) struct Inflow {
    pub(super) all: u64,
    pub(super) ours: u64,
}

// ===== impl Tide =====

impl Tide {
    pub(super) fn new(now: u64) -> Self {
        let empty = TideLevel {
            sent: now,
            used: 0,
            ours: 0,
        };
        Self {
            older: empty,
            newer: empty,
        }
    }

    /// Takes a reading of a bucket of `limit` that drains in `period`. Returns `None` if there is
    /// plenty.
    pub(super) fn read(&mut self, reading: TideLevel, limit: u64, period: u64) -> Option<Inflow> {
        if reading.used < limit / SHALLOW {
            (self.older, self.newer) = (reading, reading);
            return None;
        }
        if reading.sent.saturating_sub(self.newer.sent) > period / 2 {
            self.older = self.newer;
            self.newer = reading;
        }
        let elapsed = u128::from(reading.sent.saturating_sub(self.older.sent));
        let drained = u128::from(limit) * elapsed / u128::from(period.max(1));
        let all = u128::from(reading.used) + drained;
        let all = all.saturating_sub(u128::from(self.older.used));
        Some(Inflow {
            all: u64::try_from(all).unwrap_or(u64::MAX),
            ours: reading.ours.wrapping_sub(self.older.ours),
        })
    }
}
