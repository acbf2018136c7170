//! State shared by all handles of a limiter: the quotas, behind a lock, and the queue in front of
//! them.
//!
//! The lock lets all limits change at once. It is held for arithmetic only, for some tens of
//! nanoseconds, and never while a request waits.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

#[cfg(feature = "redis")]
use super::store::ProviderLink;
use super::{
    Provider, Reservation, Usage,
    ask::TokenRequest,
    quota::{QuotaTicket, Quotas},
};
#[cfg(feature = "redis")]
use crate::limit::store::handle::Handle;
use crate::{
    error::{BoxError, CircuitOpen, Outcome, Rejected, find_source},
    http::RateLimits,
    limit::{
        Clock, Priority,
        engine::{Limiter, Patience, WaitQueue, Waiter},
    },
    sync::unpoisoned,
};

/// The shared state of a limiter.
#[derive(Debug)]
pub struct ProviderState {
    quotas: Mutex<Quotas>,
    pub(super) clock: Clock,
    /// Its head is woken after units were returned or a limit has changed.
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

    /// Creates the state of the same limits in a store.
    #[cfg(feature = "redis")]
    pub(super) fn in_store(&self, store: Arc<Handle>, name: &str) -> Self {
        let quotas = self.lock();
        let link = ProviderLink::new(store, name, &quotas.provider);
        let shared = Self::new(&quotas.provider, Clock::tokio());
        let (mut stored, now) = shared.quotas();
        stored.learn(quotas.learns, now);
        stored.on_drop = quotas.on_drop;
        let wait_queue = link.queue.wait_queue.clone();
        stored.store(link);
        drop(stored);
        Self {
            wait_queue,
            ..shared
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

    /// Applies `hear` to the quotas, wakes the queue, and logs the changed limits. The response
    /// reported the limits `told`.
    pub(super) fn learn(&self, told: &RateLimits, hear: impl FnOnce(&mut Quotas, u64)) {
        // Not under the lock, since a subscriber may be slow.
        #[cfg(feature = "tracing")]
        let before = tracing::enabled!(tracing::Level::DEBUG).then(|| self.usage());
        let _ = told;
        #[cfg(feature = "redis")]
        let hear = |quotas: &mut Quotas, now| match quotas.store.clone() {
            Some(store) => store.learn(quotas, told, now, hear),
            None => hear(quotas, now),
        };
        let (mut quotas, now) = self.quotas();
        hear(&mut quotas, now);
        drop(quotas);
        self.wait_queue.wake_head();
        #[cfg(feature = "tracing")]
        if let Some(before) = before {
            self.usage().log_learned(&before);
        }
    }

    /// Returns the usage of each limit as it is known here.
    pub(super) fn usage(&self) -> Usage {
        let (mut quotas, now) = self.quotas();
        quotas.usage(now)
    }

    #[inline]
    fn reserve(self: &Arc<Self>, ticket: QuotaTicket, ask: &TokenRequest) -> Reservation {
        Reservation {
            shared: self.clone(),
            ticket: Some(ticket),
            lesson: ask.lesson.clone(),
        }
    }

    /// Closes the limiter.
    pub(super) fn close(&self) {
        self.wait_queue.close();
        #[cfg(feature = "redis")]
        if let Some(store) = &self.lock().store {
            store.close();
        }
    }
}

impl Limiter for Arc<ProviderState> {
    type Ask = TokenRequest;
    type Pass = Reservation;

    #[inline]
    fn enter(&self, ask: &TokenRequest, max_wait: Duration) -> Result<Reservation, Rejected> {
        if self.wait_queue.is_closed() {
            return Err(self.late(ask).closed());
        }
        let (mut quotas, now) = self.quotas();
        let ticket = quotas.decide(ask.tokens, max_wait, now)?;
        drop(quotas);
        Ok(self.reserve(ticket, ask))
    }

    #[cfg(feature = "redis")]
    fn reply_time(&self, rejected: &Rejected) -> Duration {
        let quotas = self.lock();
        let store = quotas.store.as_ref();
        store.map_or(Duration::ZERO, |store| store.reply_time(rejected))
    }

    fn behind(&self, ask: &TokenRequest, priority: Priority) -> Option<Rejected> {
        let (mut quotas, now) = self.quotas();
        quotas.behind(ask.tokens, priority, now)
    }

    fn join(&self, ask: &TokenRequest, patience: Patience) -> Result<Waiter, Rejected> {
        let priority = patience.priority;
        let place = Waiter::join(self.wait_queue.clone(), 0, patience);
        place.inspect(|_| {
            let mut quotas = self.lock();
            quotas.change_queue(u64::wrapping_add, ask.tokens, priority);
        })
    }

    fn refuse(&self, _: &TokenRequest, _: &Rejected) -> Option<Reservation> {
        self.lock().refused += 1;
        None
    }

    fn look(&self, ask: &TokenRequest) -> Result<(), Rejected> {
        let (mut quotas, now) = self.quotas();
        quotas.look(ask.tokens, now, None)
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
        Rejected::too_long(limit, Some(Duration::ZERO))
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

    fn left(&self, ask: &TokenRequest, priority: Priority) {
        let mut quotas = self.lock();
        quotas.change_queue(u64::wrapping_sub, ask.tokens, priority);
    }
}
