//! A limit on requests that no header reports, found from rejections and probed again. A configured
//! window is lowered in the same way.

use super::{
    QuotaTicket, Quotas,
    meter::{MOST, Meter},
};
use crate::{
    ai::provider::Shape,
    http::Dimension,
    limit::{Quota, nanos},
};

/// After a period without a rejection the limit is raised by 1/`STEP`.
const STEP: u64 = 100;

/// The meter that counts requests whose limit is not reported.
#[derive(Debug)]
pub(super) struct Felt {
    pub(super) place: usize,
    /// The configured limit, or [`MOST`].
    pub(super) most: u64,
    /// When the limit was last changed.
    pub(super) changed: u64,
    /// Rejections of requests that were in flight at that time may not lower it further.
    floor: u64,
}

impl Quotas {
    /// Counts requests without a limit, so that a rejection has a number to set it from.
    pub(super) fn count_requests(&mut self, now: u64) {
        let counted = |meter: &Meter| meter.dimension == Dimension::Requests;
        let place = self.meters.iter().position(counted);
        let may_feel = place.is_none_or(|place| self.may_feel(&self.meters[place]));
        if self.felt.is_some() || !may_feel {
            return;
        }
        self.felt = Some(Felt {
            place: place.unwrap_or(self.meters.len()),
            most: place.map_or(MOST, |place| self.meters[place].limit),
            changed: now,
            floor: 1,
        });
        if place.is_none() {
            let quota = Quota::new(MOST, self.provider.minute());
            let meter = self.learned_meter(Dimension::Requests, quota, Shape::Window, now);
            self.meters.push(meter);
        }
    }

    /// Returns `true` for a window of a minute, of which `used` is what was admitted in it.
    fn may_feel(&self, meter: &Meter) -> bool {
        meter.shape() == Shape::Window && meter.period / 2 <= nanos(self.provider.minute())
    }

    /// Returns the place of the limit that is neither configured nor reported.
    pub(super) fn felt_place(&self) -> Option<usize> {
        let felt = self.felt.as_ref().filter(|felt| felt.most == MOST);
        felt.map(|felt| felt.place)
    }

    /// Sets the limit after a rejection that named no limit: the number of requests admitted within
    /// a period, or the number in flight if that is larger.
    pub(super) fn feel(&mut self, ticket: &QuotaTicket, now: u64) {
        let Some(felt) = &mut self.felt else {
            return;
        };
        let meter = &mut self.meters[felt.place];
        meter.advance(now);
        let (limit, is_configured) = (meter.limit, felt.most < MOST);
        let used = meter.used(now);
        // A rejected request counts against a configured limit.
        let admitted = |used: u64| used.saturating_sub(is_configured.into());
        let (ours, let_in) = (admitted(used), admitted(self.all_requests.unwrap_or(used)));
        if is_configured && let_in < limit / 2 {
            // It is not about a configured limit.
            return;
        }
        if self.flight.count >= ours - ours / 8 {
            self.flight.too_many(ticket.at, now);
            return;
        }
        if ticket.at > felt.changed || limit == MOST {
            felt.floor = if limit == MOST { 1 } else { limit.div_ceil(2) };
        }
        meter.set_limit(let_in.max(felt.floor).clamp(1, limit));
        felt.changed = now;
    }

    /// Raises the limit after a successful response.
    pub(super) fn feel_for_more(&mut self, period: u64, now: u64) {
        let Some(felt) = &mut self.felt else {
            return;
        };
        let meter = &mut self.meters[felt.place];
        let limit = meter.limit;
        let used = self.all_requests.unwrap_or_else(|| meter.used(now));
        let is_full = used >= limit - limit / 8;
        if limit < felt.most && is_full && now.saturating_sub(felt.changed) > period {
            meter.set_limit((limit + (limit / STEP).max(1)).min(felt.most));
            felt.changed = now;
        }
    }
}
