//! How much was put into a bucket that others fill, too.
//!
//! What is in a bucket does not tell who put it there, nor how much has drained. What came in over a time does: it is the
//! rise of what is in there, and what has drained meanwhile.

/// Below this part of the bucket nobody is short of anything, and it may have been empty for a while.
const SHALLOW: u64 = 8;

/// Two earlier readings, one of them at least half a period old as soon as that is possible.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tide {
    older: TideLevel,
    newer: TideLevel,
}

/// What was in the bucket when a request came.
#[derive(Debug, Clone, Copy)]
pub(super) struct TideLevel {
    /// When the request was sent. The provider counts it at about that time, whenever its answer comes.
    pub(super) sent: u64,
    pub(super) used: u64,
    /// All that was ever let in of ours, with this request.
    pub(super) ours: u64,
}

/// What came in lately: all of it, and ours of it.
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

    /// Takes a reading of a bucket of `limit` that drains in `period`. `None` where there is plenty.
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
