//! A limit on requests that no header reports, found from rejections and probed again.

use super::{
    QuotaTicket, Quotas,
    meter::{MOST, Meter},
};
use crate::{ai::provider::Shape, http::Dimension, limit::Quota};

/// After a period without a rejection the limit is raised by 1/`STEP`.
const STEP: u64 = 100;

/// The meter that counts requests whose limit is not reported.
#[derive(Debug)]
pub(super) struct Felt {
    place: usize,
    /// When the limit was last changed.
    changed: u64,
    /// Rejections of requests that were in flight at that time may not lower it further.
    floor: u64,
}

impl Quotas {
    /// Counts requests without a limit, so that a rejection has a number to set it from.
    pub(super) fn count_requests(&mut self, now: u64) {
        let counted = |meter: &Meter| meter.dimension == Dimension::Requests;
        if self.felt.is_some() || self.meters.iter().any(counted) {
            return;
        }
        self.felt = Some(Felt {
            place: self.meters.len(),
            changed: now,
            floor: 1,
        });
        let quota = Quota::new(MOST, self.provider.minute());
        let meter = self.learned_meter(Dimension::Requests, quota, Shape::Window, now);
        self.meters.push(meter);
    }

    /// Returns the place of the limit that no header reports.
    pub(super) fn felt_place(&self) -> Option<usize> {
        self.felt.as_ref().map(|felt| felt.place)
    }

    /// Sets the limit after a rejection that named no limit: the number of requests admitted within
    /// a period, or the number in flight if that is larger.
    pub(super) fn feel(&mut self, ticket: &QuotaTicket, now: u64) {
        let Some(felt) = &mut self.felt else {
            return;
        };
        let meter = &mut self.meters[felt.place];
        meter.advance(now);
        let let_in = meter.used(now);
        if self.flight.count >= let_in - let_in / 8 {
            self.flight.too_many(ticket.at, now);
            return;
        }
        let limit = meter.limit;
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
        let is_full = meter.used(now) >= limit - limit / 8;
        if limit < MOST && is_full && now.saturating_sub(felt.changed) > period {
            meter.set_limit(limit + (limit / STEP).max(1));
            felt.changed = now;
        }
    }
}
