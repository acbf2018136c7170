//! Learns from responses and rejections.

use std::time::Duration;

use super::{MOST_METERS, QuotaTicket, Quotas, RequestMarks, Spec, meter::Meter};
use crate::{
    ai::provider::{Shape, ThrottleReason},
    http::{Dimension, RateLimits, Reported, headers::rate_limit::limits::DAY},
    limit::{Quota, nanos},
};

/// How long the load stays low after the provider reported that it rose too fast, and the time
/// between two requests then.
const RAMP: u64 = 30_000_000_000;
const RAMP_GAP: u64 = 250_000_000;

impl Quotas {
    /// Observes the limits that a response reports.
    pub(crate) fn observe(&mut self, ticket: &QuotaTicket, limits: &RateLimits, now: u64) {
        self.pause.succeeded(ticket.at);
        if !self.learns {
            return;
        }
        let marks = self.marks_of(ticket);
        self.hear(ticket, &marks, limits, now);
        self.flight.answered(self.provider.minute(), now);
        self.feel_for_more(nanos(self.provider.minute()), now);
    }

    /// Applies the limits in the headers of a response or a rejection.
    pub(super) fn hear(
        &mut self,
        ticket: &QuotaTicket,
        marks: &RequestMarks,
        limits: &RateLimits,
        now: u64,
    ) {
        if !self.learns {
            return;
        }
        for reported in limits.iter() {
            if reported.dimension == Dimension::Concurrency {
                if let Some(limit) = reported.limit.filter(|limit| *limit > 0) {
                    self.flight.set_limit(limit);
                }
                continue;
            }
            let shape = shape(reported, self.period_or_guess(reported));
            match self.place(reported) {
                Some(n) if self.felt_place() != Some(n) => {
                    // A limit found after the request was sent has no mark of it.
                    if n < ticket.known.into() {
                        self.felt.take_if(|felt| felt.place == n);
                        let meter = &mut self.meters[n];
                        meter.advance(now);
                        if let Some(shape) = shape {
                            meter.reshape(shape, ticket.at, now);
                        }
                        meter.hear(ticket.at, marks[n], reported, self.margin, now);
                    }
                }
                felt => {
                    // A client that stays within a window also stays within a bucket of that size.
                    let shape = shape.unwrap_or(Shape::Window);
                    self.found(felt, ticket, reported, shape, now);
                }
            }
        }
    }

    /// Applies a rejection to all requests.
    pub(in crate::ai::provider) fn heed(
        &mut self,
        ticket: &QuotaTicket,
        class: ThrottleReason,
        wait: Option<Duration>,
        told: &RateLimits,
        now: u64,
    ) {
        match class {
            ThrottleReason::Concurrency if self.learns || self.flight.limit.is_some() => {
                self.flight.too_many(ticket.at, now);
                if self.flight.count == 0 {
                    // Another client has the slots.
                    self.pause.begin(ticket.at, wait, now);
                }
            }
            // No wait would help.
            ThrottleReason::Day if wait.is_none() => {}
            ThrottleReason::Rate | ThrottleReason::Day | ThrottleReason::Concurrency => {
                self.flight.refused();
                if self.learns && class == ThrottleReason::Rate && told.is_empty() {
                    self.feel(ticket, now);
                }
                self.pause.begin(ticket.at, wait, now);
            }
            ThrottleReason::Ramp => {
                self.pause.begin(ticket.at, wait, now);
                self.pause.ease(now, RAMP, RAMP_GAP);
            }
            // These are not about the remaining quota.
            ThrottleReason::QuotaExhausted
            | ThrottleReason::TooLarge
            | ThrottleReason::Capacity => {}
        }
    }

    /// Finds the limit that a report is about.
    pub(super) fn place(&self, reported: &Reported) -> Option<usize> {
        let period = self.period_of(reported);
        let is_meant = |meter: &Meter| {
            // With or without the margin.
            let is_of = |period| meter.period.abs_diff(nanos(period)) <= self.margin;
            meter.dimension == reported.dimension && period.is_none_or(is_of)
        };
        let distance = |meter: &Meter| reported.limit.map(|limit| meter.limit.abs_diff(limit));
        let meters = self.meters.iter().enumerate();
        let meant = meters.filter(|(_, meter)| is_meant(meter));
        let nearest = meant.min_by_key(|(_, meter)| distance(meter));
        nearest.map(|(n, _)| n)
    }

    /// Returns the reported period. A period of a minute becomes the configured one.
    fn period_of(&self, reported: &Reported) -> Option<Duration> {
        reported.period.map(|period| match period.as_secs() {
            60 => self.provider.minute(),
            _ => period,
        })
    }

    /// Adds a limit that was not configured.
    fn found(
        &mut self,
        felt: Option<usize>,
        ticket: &QuotaTicket,
        reported: &Reported,
        shape: Shape,
        now: u64,
    ) {
        let Some(limit) = reported.limit.filter(|limit| *limit > 0) else {
            return;
        };
        let quota = Quota::new(limit, self.period_or_guess(reported));
        let mut meter = self.learned_meter(reported.dimension, quota, shape, now);
        // The others in flight were sent without a count, and about as large.
        let cost = meter.cost(ticket.tokens);
        let in_flight = cost.saturating_mul(self.flight.count.max(1));
        meter.hear_first(in_flight.min(limit.max(cost)), reported, now);
        match felt {
            Some(place) => {
                self.felt = None;
                self.meters[place] = meter;
            }
            None if self.meters.len() < MOST_METERS => self.meters.push(meter),
            None => {}
        }
    }

    /// Returns a new meter of a limit that was not configured.
    pub(super) fn learned_meter(
        &self,
        dimension: Dimension,
        quota: Quota,
        shape: Shape,
        now: u64,
    ) -> Meter {
        let spec = Spec {
            dimension,
            quota: quota.margin(self.provider.margin_or_default()),
            shape,
        };
        Meter::new(&spec, self.provider.accounting().counting(), true, now)
    }

    /// Returns the reported period, or else a minute, or a day if the reset time is too long for a
    /// minute.
    fn period_or_guess(&self, reported: &Reported) -> Duration {
        if let Some(period) = self.period_of(reported) {
            return period;
        }
        // No known limit takes longer than a day to recover.
        let minute = self.provider.minute();
        let plausible = minute.saturating_mul(2)..=DAY;
        let Some(reset) = reported.reset.filter(|reset| plausible.contains(reset)) else {
            return minute;
        };
        let used = match (reported.limit, reported.remaining) {
            (Some(limit), Some(left)) => limit.saturating_sub(left).max(1),
            _ => 1,
        };
        let whole = reset.as_secs().saturating_mul(reported.limit.unwrap_or(1)) / used;
        if whole >= DAY.as_secs() / 2 {
            DAY
        } else {
            minute
        }
    }
}

/// Returns the shape of one limit, if its reset time tells: a bucket recovers in proportion to its
/// usage. It does only if little is used.
fn shape(reported: &Reported, period: Duration) -> Option<Shape> {
    // Reset times may be in whole seconds, and the `Date` may be a second old.
    let slack = Duration::from_millis(2_100).min(period.saturating_mul(2) / 5);
    let (limit, left, reset) = (reported.limit?, reported.remaining?, reported.reset?);
    let used = limit.checked_sub(left)?;
    if used == 0 || used >= limit / 4 {
        return None;
    }
    let in_proportion = period.as_secs_f64() * used as f64 / limit as f64;
    let most = 2.0 * in_proportion + slack.as_secs_f64();
    Some(if reset.as_secs_f64() <= most {
        Shape::Bucket
    } else {
        Shape::Window
    })
}
