//! All limits of a provider in one state, which changes at one instant for all of them.
//!
//! Sums only: whoever asks says what time it is, in nanoseconds.
//!
//! ```text
//! decide ─▶ QuotaTicket ─┬─▶ settle   its answer has ended, and used so much
//!                   ├─▶ refund   it was not sent, or not let in
//!                   └─▶ observe  what its answer says of the limits
//! ```

mod bucket;
mod feel;
mod flight;
mod learn;
mod meter;
mod outlook;
mod pause;
mod queued;
mod share;
mod snapshot;
#[cfg(all(test, not(throttle_loom)))]
mod tests;
mod ticket;
mod tide;

use std::time::Duration;

use self::{
    feel::Felt, flight::RequestsInFlight, meter::Meter, pause::Pause, queued::QueuedTokens,
};
pub(crate) use self::{outlook::WHOLE, ticket::QuotaTicket};
use super::{Accounting, Charge, Counting, Provider, Shape, ThrottleReason};
use crate::{
    ai::tokens::{TokenUsage, Tokens},
    error::{LimitKind, Rejected},
    http::{Dimension, RateLimits},
    limit::{Decision, Quota, nanos},
};

/// As many limits as are kept at once.
const MOST_METERS: usize = RateLimits::MOST;

/// One limit, as it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Spec {
    pub(crate) dimension: Dimension,
    pub(crate) quota: Quota,
    pub(crate) shape: Shape,
}

/// The state.
#[derive(Debug)]
pub(crate) struct Quotas {
    meters: Vec<Meter>,
    felt: Option<Felt>,
    flight: RequestsInFlight,
    pause: Pause,
    /// What all who wait ask for.
    queued: QueuedTokens,
    accounting: Accounting,
    pub(crate) on_drop: Charge,
    learns: bool,
    /// The period of a limit that does not say its own.
    minute: Duration,
    margin: Duration,
    refused: u64,
}

// ===== impl Quotas =====

impl Quotas {
    pub(crate) fn new(provider: &Provider, seed: u64, now: u64) -> Self {
        let accounting = provider.accounting();
        let mut meters = Vec::with_capacity(MOST_METERS);
        for spec in provider.specs() {
            meters.push(Meter::new(&spec, accounting.counting(), false, now));
        }
        Self {
            flight: RequestsInFlight::new(provider.concurrency()),
            meters,
            felt: None,
            pause: Pause::new(seed),
            queued: QueuedTokens::default(),
            accounting,
            on_drop: Charge::default(),
            learns: false,
            minute: provider.minute(),
            margin: provider.margin_or_default(),
            refused: 0,
        }
    }

    pub(crate) fn learn(&mut self, learns: bool, now: u64) {
        self.learns = learns;
        let knows_nothing = self.meters.is_empty() && self.flight.limit.is_none();
        self.flight.probe(learns && knows_nothing);
        if learns {
            self.count_requests(now);
        }
    }

    /// For a newcomer: takes from all limits, or says how long that will take behind those who wait.
    #[inline]
    pub(crate) fn decide(&mut self, tokens: Tokens, now: u64) -> Result<QuotaTicket, Rejected> {
        let (decision, limit) = self.due(tokens, now, Some(WHOLE));
        if decision.is_admit() && self.queued.requests == 0 {
            return Ok(self.admit(tokens, now, false));
        }
        self.fits(tokens)?;
        // Behind somebody, so never now.
        let wait = decision.max(Decision::after(1)).wait();
        Err(Rejected::too_long(limit, Duration::ZERO, wait))
    }

    /// For the head of the queue.
    pub(crate) fn take_in_turn(&mut self, tokens: Tokens, now: u64) -> Option<QuotaTicket> {
        let (decision, _) = self.due(tokens, now, None);
        decision.is_admit().then(|| self.admit(tokens, now, true))
    }

    /// For the head of the queue: whether there is room, and which limit it waits for.
    pub(crate) fn look(&mut self, tokens: Tokens, now: u64) -> Result<(), Rejected> {
        let (decision, limit) = self.due(tokens, now, None);
        decision.or_reject(limit, 0, 0)
    }

    pub(crate) fn join(&mut self, tokens: Tokens) {
        self.queued.join(tokens);
    }

    pub(crate) fn leave(&mut self, tokens: Tokens) {
        self.queued.leave(tokens);
    }

    pub(crate) fn count_refusal(&mut self) {
        self.refused += 1;
    }

    /// Whether it matters for [`settle`](Self::settle) what time it is.
    pub(crate) fn settles_in_time(&self) -> bool {
        self.accounting.counting() == Counting::Completion
    }

    /// The answer has ended, and used so much; `None` keeps what was reserved.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        ticket: &QuotaTicket,
        usage: Option<TokenUsage>,
        now: Option<u64>,
    ) {
        self.flight.end();
        let accounting = self.accounting;
        for (meter, cost) in ticket.of(&mut self.meters) {
            if let Some(now) = now {
                meter.advance(now);
            }
            let used = usage.map(|usage| accounting.used(meter.dimension, usage));
            meter.settle(ticket.at, cost, used, now.unwrap_or(ticket.at));
        }
    }

    /// The request was never sent: as if it had not been.
    pub(crate) fn refund(&mut self, ticket: &QuotaTicket) {
        self.flight.end();
        for (meter, cost) in ticket.of(&mut self.meters) {
            meter.refund(ticket.at, cost);
        }
    }

    /// The request was refused, for the reason and the time that are known. It has used no tokens; some providers count
    /// it as a request all the same.
    pub(crate) fn refuse(
        &mut self,
        ticket: &QuotaTicket,
        class: ThrottleReason,
        wait: Option<Duration>,
        told: &RateLimits,
        now: u64,
    ) {
        self.hear(ticket, told, now);
        self.flight.end();
        for (meter, cost) in ticket.of(&mut self.meters) {
            // Where the provider counts it all the same, and we hear of it, what is left says so.
            if meter.dimension != Dimension::Requests || ticket.learns {
                meter.refund(ticket.at, cost);
            }
        }
        self.heed(ticket, class, wait, told, now);
    }

    /// When there is room everywhere, and which limit is the last to have it: behind a share of those who wait, in parts
    /// of [`WHOLE`], or for the head of the queue.
    #[inline]
    pub(crate) fn due(
        &mut self,
        tokens: Tokens,
        now: u64,
        share: Option<u64>,
    ) -> (Decision, LimitKind) {
        // If there is room, those ahead have yet to take it.
        let first = self.meters.first().map(|meter| meter.dimension);
        let first = LimitKind::Quota(first.unwrap_or(Dimension::Concurrency));
        let mut last = match self.pause.due(now) {
            Decision::Admit => (Decision::Admit, first),
            wait => (wait, LimitKind::Pause),
        };
        if self.flight.due() > last.0 {
            last = (self.flight.due(), LimitKind::Quota(Dimension::Concurrency));
        }
        for meter in &mut self.meters {
            meter.advance(now);
            let ahead = self.queued.share_of(meter.dimension, share.unwrap_or(0));
            let due = meter.due(ahead, meter.cost(tokens), now, share.is_none());
            if due > last.0 {
                last = (due, LimitKind::Quota(meter.dimension));
            }
        }
        last
    }

    #[inline]
    fn admit(&mut self, tokens: Tokens, now: u64, in_turn: bool) -> QuotaTicket {
        let mut marks = [0; MOST_METERS];
        for (meter, mark) in self.meters.iter_mut().zip(&mut marks) {
            meter.admit(meter.cost(tokens), now, in_turn);
            if self.learns {
                *mark = meter.mark();
            }
        }
        self.flight.start();
        if !self.learns {
            self.flight.recover(nanos(self.minute), now);
        }
        self.pause.started(self.queued.requests, now);
        QuotaTicket {
            at: now,
            tokens,
            marks,
            known: self.meters.len() as u8,
            learns: self.learns,
        }
    }
}
