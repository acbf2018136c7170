//! State shared by all handles of a limiter: the quotas, behind a lock, and the queue in front of
//! them.
//!
//! The lock lets all limits change at once. It is held for arithmetic only, for some tens of
//! nanoseconds, and never while a request waits.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use super::{
    Provider, Reservation,
    ask::TokenRequest,
    quota::{QuotaTicket, Quotas},
};
use crate::{
    error::{BoxError, CircuitOpen, Outcome, Rejected, find_source},
    limit::{
        Clock,
        engine::{Limiter, Patience, WaitQueue, Waiter},
    },
    sync::unpoisoned,
};

/// The shared state of a limiter.
#[derive(Debug)]
pub struct ProviderState {
    quotas: Mutex<Quotas>,
    clock: Clock,
    pub(super) wait_queue: Arc<WaitQueue>,
}

// ===== impl ProviderState =====

impl ProviderState {
    pub(super) fn new(provider: &Provider, clock: Clock) -> Self {
        let now = clock.now();
        let mut quotas = Quotas::new(provider, rand::random(), now);
        quotas.learn(true, now);
        Self {
            quotas: Mutex::new(quotas),
            clock,
            wait_queue: Arc::new(WaitQueue::new(None)),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Quotas> {
        unpoisoned(self.quotas.lock())
    }

    /// Locks the quotas, and reads the clock.
    #[inline]
    pub(super) fn quotas(&self) -> (MutexGuard<'_, Quotas>, u64) {
        let quotas = self.lock();
        // Read under the lock, so that time never goes backwards.
        (quotas, self.clock.now())
    }

    /// Wakes the head of the queue after units were returned or a limit has changed.
    #[inline]
    pub(super) fn tell(&self) {
        self.wait_queue.wake_head();
    }

    /// Applies `hear` to the quotas, wakes the queue, and logs the changed limits.
    pub(super) fn learn(&self, hear: impl FnOnce(&mut Quotas, u64)) {
        // Evaluated before the lock is taken, since a subscriber may be slow.
        #[cfg(feature = "tracing")]
        let is_logged = tracing::enabled!(tracing::Level::DEBUG);
        let (mut quotas, now) = self.quotas();
        #[cfg(feature = "tracing")]
        let before = is_logged.then(|| quotas.usage(now));
        hear(&mut quotas, now);
        #[cfg(feature = "tracing")]
        let change = before.map(|before| (before, quotas.usage(now)));
        drop(quotas);
        self.tell();
        #[cfg(feature = "tracing")]
        if let Some((before, after)) = change {
            after.log_learned(&before);
        }
    }

    /// Reads the clock while the quotas are locked.
    pub(super) fn now(&self) -> u64 {
        self.clock.now()
    }

    #[inline]
    fn reserve(self: &Arc<Self>, ticket: QuotaTicket, ask: &TokenRequest) -> Reservation {
        Reservation {
            shared: self.clone(),
            ticket: Some(ticket),
            lesson: ask.lesson.clone(),
        }
    }
}

impl Limiter for Arc<ProviderState> {
    type Ask = TokenRequest;
    type Pass = Reservation;

    #[inline]
    fn enter(&self, ask: &TokenRequest, _: Duration) -> Result<Reservation, Rejected> {
        if self.wait_queue.is_closed() {
            return Err(self.late(ask).closed());
        }
        let (mut quotas, now) = self.quotas();
        let ticket = quotas.decide(ask.tokens, now)?;
        drop(quotas);
        Ok(self.reserve(ticket, ask))
    }

    fn join(&self, ask: &TokenRequest, patience: Patience) -> Result<Waiter, Rejected> {
        let place = Waiter::join(self.wait_queue.clone(), 0, patience);
        place.inspect(|_| self.lock().join(ask.tokens))
    }

    fn refuse(&self, _: &TokenRequest, _: &Rejected) -> Option<Reservation> {
        self.lock().count_refusal();
        None
    }

    fn look(&self, ask: &TokenRequest) -> Result<(), Rejected> {
        let (mut quotas, now) = self.quotas();
        quotas.look(ask.tokens, now)
    }

    fn take_in_turn(&self, ask: &TokenRequest) -> Option<Reservation> {
        let (mut quotas, now) = self.quotas();
        let ticket = quotas.take_in_turn(ask.tokens, now)?;
        drop(quotas);
        Some(self.reserve(ticket, ask))
    }

    fn late(&self, ask: &TokenRequest) -> Rejected {
        let (mut quotas, now) = self.quotas();
        let limit = quotas.due(ask.tokens, now, None).1;
        Rejected::too_long(limit, Duration::ZERO, Some(Duration::ZERO))
    }

    fn failed(error: Option<&BoxError>, reservation: Reservation) {
        // Rejected by an inner limit or circuit breaker, or no connection: it was not sent.
        let is_unsent = error.is_some_and(|error| {
            find_source::<Rejected>(error).is_some()
                || find_source::<CircuitOpen>(error).is_some()
                || Outcome::of_error(error) == Some(Outcome::NotSent)
        });
        if is_unsent {
            reservation.refund();
        }
    }

    fn left(&self, ask: &TokenRequest) {
        self.lock().leave(ask.tokens);
    }
}
