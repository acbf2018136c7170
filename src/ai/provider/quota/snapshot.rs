//! The usage of each limit.

use std::time::Duration;

use super::{Quotas, meter::MOST};
use crate::{
    ai::provider::{LimitUsage, Usage},
    http::Dimension,
};

impl Quotas {
    pub(crate) fn usage(&mut self, now: u64) -> Usage {
        let concurrency = self.flight.limit.map(|limit| LimitUsage {
            dimension: Dimension::Concurrency,
            period: None,
            limit,
            ours: limit,
            used: self.flight.count,
            reserved: 0,
            resets_in: Duration::ZERO,
        });
        for meter in &mut self.meters {
            meter.advance(now);
        }
        // Omit a limit that is neither reported nor found.
        let known = self.meters.iter().filter(|meter| meter.limit < MOST);
        let meters = known.map(|meter| LimitUsage {
            dimension: meter.dimension,
            period: Some(Duration::from_nanos(meter.period)),
            limit: meter.limit,
            ours: meter.ours(now),
            used: meter.counted(now),
            reserved: meter.pending(now),
            resets_in: Duration::from_nanos(meter.resets_in(now)),
        });
        Usage {
            limits: meters.chain(concurrency).collect(),
            in_flight: self.flight.count,
            waiting: self.queued.requests,
            refused: self.refused,
            paused_for: Duration::from_nanos(self.pause.remaining(now)),
        }
    }
}
