//! All limits of a provider in one state that changes atomically.
//!
//! Pure arithmetic: every method takes the time in nanoseconds as an argument. Only the limits that
//! a store counts are asked of it.
//!
//! ```text
//! decide ─▶ QuotaTicket ─┬─▶ settle   the response has ended, with this usage
//!                   ├─▶ refund   it was not sent, or not let in
//!                   └─▶ observe  the limits that the response reports
//! ```

mod bucket;
mod feel;
mod flight;
mod learn;
mod meter;
mod pause;
mod queued;
mod snapshot;
#[cfg(feature = "redis")]
mod stored;
#[cfg(all(test, not(throttle_loom)))]
mod tests;
mod ticket;
mod totals;

#[cfg(feature = "redis")]
use std::sync::Arc;
use std::{mem, time::Duration};

#[cfg(feature = "redis")]
pub(crate) use self::stored::StoredLimit;
use self::{
    feel::Felt,
    flight::RequestsInFlight,
    meter::{Mark, Meter},
    pause::Pause,
    totals::TokenTotals,
};
pub(crate) use self::{
    queued::{QueuedTokens, WHOLE},
    ticket::QuotaTicket,
};
#[cfg(feature = "redis")]
use super::store::ProviderLink;
use super::{Charge, Counting, Provider, Shape, ThrottleReason};
use crate::{
    ai::tokens::{TokenUsage, Tokens},
    error::{LimitKind, Rejected},
    http::{Dimension, RateLimits},
    limit::{Decision, Priority, Quota, nanos},
};

/// The largest number of limits.
const MOST_METERS: usize = RateLimits::MOST;

/// The mark of each limit for the response of a request.
type RequestMarks = [Mark; MOST_METERS];

/// The settings of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Spec {
    pub(crate) dimension: Dimension,
    pub(crate) quota: Quota,
    pub(crate) shape: Shape,
}

/// The state of all limits.
#[derive(Debug)]
pub(crate) struct Quotas {
    meters: Vec<Meter>,
    felt: Option<Felt>,
    flight: RequestsInFlight,
    /// The marks of the requests in flight. They are not in the tickets, so that those are small: a
    /// ticket moves several times. A place is used again, so nothing is allocated unless more
    /// requests are in flight than ever before.
    marks: Vec<RequestMarks>,
    free_marks: Vec<usize>,
    pub(crate) pause: Pause,
    /// The tokens of all queued requests.
    pub(crate) queued: QueuedTokens,
    /// The same of each priority.
    lanes: [QueuedTokens; Priority::LANES],
    pub(crate) provider: Provider,
    pub(crate) on_drop: Charge,
    pub(crate) learns: bool,
    pub(crate) refused: u64,
    /// Requests that start within this time may arrive in another order.
    margin: u64,
    /// If a store counts limits for several processes.
    #[cfg(feature = "redis")]
    pub(crate) store: Option<Arc<ProviderLink>>,
    /// The requests of all processes that count, if a store knows.
    all_requests: Option<u64>,
    pub(crate) totals: TokenTotals,
}

// ===== impl Quotas =====

impl Quotas {
    pub(crate) fn new(provider: &Provider, seed: u64, now: u64) -> Self {
        let counting = provider.accounting().counting();
        let meter = |spec| Meter::new(&spec, counting, false, now);
        Self {
            meters: provider.specs().map(meter).collect(),
            flight: RequestsInFlight::new(provider.concurrency()),
            felt: None,
            marks: Vec::new(),
            free_marks: Vec::new(),
            pause: Pause::new(seed),
            queued: QueuedTokens::default(),
            lanes: Default::default(),
            provider: *provider,
            on_drop: Charge::default(),
            learns: false,
            refused: 0,
            // A part of the range, so that sums fit.
            margin: nanos(provider.margin_or_default()).min(u64::MAX / 4),
            #[cfg(feature = "redis")]
            store: None,
            all_requests: None,
            totals: TokenTotals::default(),
        }
    }

    pub(crate) fn learn(&mut self, learns: bool, now: u64) {
        self.learns = learns;
        let known = self.meters.len() - usize::from(self.felt_place().is_some());
        let knows_nothing = known == 0 && self.flight.limit.is_none();
        self.flight.probe = (learns && knows_nothing).then_some(1);
        if learns {
            self.count_requests(now);
        } else if let Some(felt) = &self.felt {
            self.meters[felt.place].set_limit(felt.most);
        }
    }

    /// Returns `true` if a new request would start now: there is room and the queue is empty.
    pub(crate) fn can_start(&mut self, tokens: Tokens, now: u64) -> bool {
        self.queued.requests == 0 && self.look(tokens, now, Some(WHOLE)).is_ok()
    }

    /// Takes from all limits for a new request, or returns the wait behind the queue.
    #[inline]
    pub(crate) fn decide(
        &mut self,
        tokens: Tokens,
        max_wait: Duration,
        now: u64,
    ) -> Result<QuotaTicket, Rejected> {
        let (decision, limit) = self.due(tokens, now, Some(WHOLE));
        if decision.is_admit() && self.queued.requests == 0 {
            #[cfg(feature = "redis")]
            let stored = match &self.store {
                Some(store) => Some(store.take(tokens, max_wait)?),
                None => None,
            };
            let _ = max_wait;
            let ticket = self.admit(tokens, now, false);
            #[cfg(feature = "redis")]
            let ticket = QuotaTicket { stored, ..ticket };
            return Ok(ticket);
        }
        self.fits(tokens)?;
        #[cfg(feature = "redis")]
        if let (Some(store), Decision::Admit) = (&self.store, decision) {
            return Err(store.too_long(tokens, &self.queued));
        }
        // Never zero: others may be ahead.
        Err(decision.max(Decision::after(1)).rejection(limit, 0, 0))
    }

    /// Returns the rejection of a request that only waits for those ahead of its priority, unless
    /// all who wait are ahead of it. If the head is not, it does not count either.
    pub(crate) fn behind(
        &mut self,
        tokens: Tokens,
        priority: Priority,
        now: u64,
    ) -> Option<Rejected> {
        let ahead = QueuedTokens::sum(&self.lanes[..=priority.lane()]);
        if ahead.requests >= self.queued.requests {
            return None;
        }
        #[cfg(feature = "redis")]
        if let Some(store) = &self.store {
            return Some(store.too_long(tokens, &ahead));
        }
        let all = mem::replace(&mut self.queued, ahead);
        let (decision, limit) = self.due(tokens, now, Some(WHOLE));
        self.queued = all;
        Some(decision.max(Decision::after(1)).rejection(limit, 0, 0))
    }

    /// Takes from all limits for the head of the queue.
    pub(crate) fn take_in_turn(&mut self, tokens: Tokens, now: u64) -> Option<QuotaTicket> {
        if !self.due(tokens, now, None).0.is_admit() {
            return None;
        }
        #[cfg(feature = "redis")]
        let stored = match &self.store {
            Some(store) => Some(store.take_in_turn(tokens)?),
            None => None,
        };
        let ticket = self.admit(tokens, now, true);
        #[cfg(feature = "redis")]
        let ticket = QuotaTicket { stored, ..ticket };
        Some(ticket)
    }

    /// Checks whether a request fits behind `share` of the queue, or the head of the queue if that
    /// is `None`, and if not, which limit it waits for.
    pub(crate) fn look(
        &mut self,
        tokens: Tokens,
        now: u64,
        share: Option<u64>,
    ) -> Result<(), Rejected> {
        let (decision, limit) = self.due(tokens, now, share);
        if !decision.is_admit() {
            self.fits(tokens)?;
        }
        decision.or_reject(limit, 0, 0)?;
        #[cfg(feature = "redis")]
        if let Some(store) = &self.store {
            return store.look(tokens);
        }
        Ok(())
    }

    /// Returns the expected wait behind `share` parts of [`WHOLE`] of the queue, if it is known.
    ///
    /// # Errors
    ///
    /// Returns an error if the request never fits.
    pub(crate) fn outlook(
        &mut self,
        tokens: Tokens,
        share: u64,
        now: u64,
    ) -> Result<Option<Duration>, Rejected> {
        self.fits(tokens)?;
        let wait = self.due(tokens, now, Some(share)).0.wait();
        #[cfg(feature = "redis")]
        if let Some(store) = &self.store {
            return Ok(
                wait.and_then(|wait| Some(wait.max(store.wait_after(tokens, &self.queued)?)))
            );
        }
        Ok(wait)
    }

    /// Checks that the request fits into all limits at some time.
    #[cold]
    pub(crate) fn fits(&self, tokens: Tokens) -> Result<(), Rejected> {
        let never = |dimension, cost, capacity| {
            Err(Rejected::never(LimitKind::Quota(dimension), cost, capacity))
        };
        if self.flight.limit == Some(0) {
            return never(Dimension::Concurrency, 1, 0);
        }
        for meter in self.meters.iter().filter(|meter| !meter.is_stored) {
            let cost = meter.cost(tokens);
            if meter.exceeds_capacity(cost) {
                return never(meter.dimension, cost, meter.capacity());
            }
        }
        Ok(())
    }

    /// Adds a request to what is queued, or subtracts it.
    pub(crate) fn change_queue(
        &mut self,
        by: fn(u64, u64) -> u64,
        tokens: Tokens,
        priority: Priority,
    ) {
        for queued in [&mut self.queued, &mut self.lanes[priority.lane()]] {
            queued.change(by, 1, tokens);
        }
        #[cfg(feature = "redis")]
        if let Some(store) = &self.store {
            store.count_queued(&self.queued);
        }
    }

    /// Returns `true` if [`settle`](Self::settle) needs the time.
    pub(crate) fn settles_in_time(&self) -> bool {
        self.provider.accounting().counting() == Counting::Completion
    }

    /// Ends a request with its usage; `None` keeps the reservation.
    #[inline]
    pub(crate) fn settle(
        &mut self,
        ticket: &QuotaTicket,
        usage: Option<TokenUsage>,
        now: Option<u64>,
    ) {
        self.end(ticket, usage);
        let accounting = self.provider.accounting();
        for (meter, cost) in ticket.of(&mut self.meters) {
            if let Some(now) = now {
                meter.advance(now);
            }
            let used = usage.map(|usage| accounting.used(meter.dimension, usage));
            meter.settle(ticket.at, cost, used, now.unwrap_or(ticket.at));
        }
        #[cfg(feature = "redis")]
        if let (Some(store), Some(marks)) = (&self.store, &ticket.stored) {
            store.settle(marks, usage);
        }
    }

    /// Ends a request that was never sent.
    pub(crate) fn refund(&mut self, ticket: &QuotaTicket) {
        self.end(ticket, Some(TokenUsage::default()));
        for (meter, cost) in ticket.of(&mut self.meters) {
            meter.refund(ticket.at, cost);
        }
        #[cfg(feature = "redis")]
        if let (Some(store), Some(marks)) = (&self.store, &ticket.stored) {
            store.refund(marks);
        }
    }

    /// Ends a request that the provider rejected. It has used no tokens, but some providers count
    /// the request.
    pub(crate) fn refuse(
        &mut self,
        ticket: &QuotaTicket,
        class: ThrottleReason,
        wait: Option<Duration>,
        told: &RateLimits,
        now: u64,
    ) {
        let mut marks = self.marks_of(ticket);
        self.end(ticket, Some(TokenUsage::default()));
        let felt = self.felt_place();
        for (n, (meter, cost)) in ticket.of(&mut self.meters).enumerate() {
            // Without a report, the request counts: some providers count it.
            if meter.dimension != Dimension::Requests || !told.is_empty() || felt == Some(n) {
                let returned = meter.refund(ticket.at, cost);
                marks[n] = marks[n].without(returned, cost);
            }
        }
        self.hear(ticket, &marks, told, now);
        self.heed(ticket, class, wait, told, now);
        #[cfg(feature = "redis")]
        if let (Some(store), Some(marks)) = (&self.store, &ticket.stored) {
            store.refuse(self, marks, told);
        }
    }

    /// Ends a request in flight with its usage; `None` if it is not known. Its marks are gone.
    #[inline]
    fn end(&mut self, ticket: &QuotaTicket, usage: Option<TokenUsage>) {
        self.totals.settle(ticket.tokens, usage);
        self.flight.count = self.flight.count.saturating_sub(1);
        self.free_marks.extend(ticket.marks);
    }

    /// Returns the marks of a request in flight.
    fn marks_of(&self, ticket: &QuotaTicket) -> RequestMarks {
        let marks = ticket.marks.map(|place| self.marks[place]);
        marks.unwrap_or_default()
    }

    /// Returns when all limits have room, and the last of them to have it: behind `share` parts of
    /// [`WHOLE`] of the queue, or for the head of the queue.
    #[inline]
    pub(crate) fn due(
        &mut self,
        tokens: Tokens,
        now: u64,
        share: Option<u64>,
    ) -> (Decision, LimitKind) {
        #[cfg(feature = "redis")]
        if let Some(store) = &self.store {
            self.pause.begin_with_others(store.paused(), now);
        }
        // There is room, but those ahead have yet to take it.
        let first = self.meters.first().map(|meter| meter.dimension);
        let first = LimitKind::Quota(first.unwrap_or(Dimension::Concurrency));
        let mut last = match self.pause.due(now) {
            Decision::Admit => (Decision::Admit, first),
            wait => (wait, LimitKind::Pause),
        };
        if self.flight.due() > last.0 {
            last = (self.flight.due(), LimitKind::Quota(Dimension::Concurrency));
        }
        // Those in a store have their own wait.
        for meter in self.meters.iter_mut().filter(|meter| !meter.is_stored) {
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
    pub(crate) fn admit(&mut self, tokens: Tokens, now: u64, in_turn: bool) -> QuotaTicket {
        let place = self.learns.then(|| {
            self.free_marks.pop().unwrap_or_else(|| {
                self.marks.push(RequestMarks::default());
                self.marks.len() - 1
            })
        });
        let mut marks = place.map(|place| &mut self.marks[place]);
        for (n, meter) in self.meters.iter_mut().enumerate() {
            let cost = meter.cost(tokens);
            let counted = meter.admit(cost, now, in_turn);
            if let Some(marks) = &mut marks {
                marks[n] = meter.mark(counted, self.margin, now);
            }
        }
        self.totals.reserve(tokens);
        self.flight.count += 1;
        if !self.learns {
            self.flight.recover(self.provider.minute(), now);
        }
        self.pause.started(self.queued.requests, now);
        QuotaTicket {
            at: now,
            tokens,
            marks: place,
            known: self.meters.len() as u8,
            #[cfg(feature = "redis")]
            stored: None,
        }
    }
}
