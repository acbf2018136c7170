//! What an admitted request holds.

use std::sync::Arc;

#[cfg(feature = "redis")]
use super::shared::LinkTicket;
use super::{
    by_key::Demand,
    kind::{Kind, Rate},
    state::PerKeyState,
};
use crate::{
    error::Rejected, http::headers::rate_limit::standing::Standing, limit::key::ClientKey,
};

/// What an admitted request holds.
///
/// With a limit of requests [in flight](super::InFlight), the key's next request may start when it
/// is dropped. With a rate, what was taken counts as used when it is dropped, unless it is
/// [refunded](Self::refund).
pub struct Permit<K: Kind> {
    left: Option<K::Left>,
    /// Only there if it is needed.
    ticket: Option<PermitTicket<K>>,
    /// The same of a limit that several processes share.
    #[cfg(feature = "redis")]
    link_ticket: Option<Box<LinkTicket<K>>>,
    /// Why the request would have been rejected, if the limit is a shadow.
    pub(super) rejection: Option<Box<Rejected>>,
}

/// What one request took, and of which key.
struct PermitTicket<K: Kind> {
    state: Arc<PerKeyState<K>>,
    key: ClientKey,
    plan: Option<K::Plan>,
    cost: u64,
    mark: K::Mark,
    shared: bool,
}

// ===== impl Permit =====

impl<K: Kind> Permit<K> {
    /// Creates the permit of a request that passes without being counted.
    #[inline]
    pub(super) fn uncounted() -> Self {
        Self {
            left: None,
            ticket: None,
            #[cfg(feature = "redis")]
            link_ticket: None,
            rejection: None,
        }
    }

    /// Creates the permit of a request that passes although it is rejected: the limit is a shadow.
    pub(super) fn shadowed(rejected: &Rejected) -> Self {
        Self {
            rejection: Some(Box::new(rejected.clone())),
            ..Self::uncounted()
        }
    }

    #[inline]
    pub(super) fn new(
        state: &Arc<PerKeyState<K>>,
        demand: &Demand<K::Plan>,
        mark: K::Mark,
        left: K::Left,
        shared: bool,
    ) -> Self {
        let mut permit = Self {
            left: Some(left),
            ..Self::uncounted()
        };
        if K::HELD || demand.settles {
            permit.ticket = Some(PermitTicket {
                state: state.clone(),
                key: demand.counted_key(),
                plan: demand.plan,
                cost: demand.cost,
                mark,
                shared,
            });
        }
        permit
    }

    /// Creates the permit of a request that a store has admitted.
    #[cfg(feature = "redis")]
    pub(super) fn of_store(left: Option<K::Left>, ticket: Option<LinkTicket<K>>) -> Self {
        Self {
            left,
            link_ticket: ticket.map(Box::new),
            ..Self::uncounted()
        }
    }

    /// Returns the state of each of the key's limits, if the request was counted.
    pub(super) fn standings(&self) -> impl Iterator<Item = Standing<'static>> {
        self.left.iter().flat_map(K::standings)
    }
}

impl<K: Rate> Permit<K> {
    /// Gives back what was taken and was not used.
    ///
    /// It goes back to the instant at which it was taken, so what is available again since then
    /// does not. Nothing goes back to a bucket whose quota has changed since then.
    ///
    /// ```
    /// use tower_throttle::{Quota, per_key::PerKeyLimiter};
    ///
    /// let limiter = PerKeyLimiter::new(Quota::per_hour(1));
    /// let permit = limiter.try_acquire("ann".into(), 1)?;
    /// assert!(limiter.try_acquire("ann".into(), 1).is_err());
    /// permit.refund();
    /// assert!(limiter.try_acquire("ann".into(), 1).is_ok());
    /// # Ok::<(), tower_throttle::Rejected>(())
    /// ```
    pub fn refund(mut self) {
        self.settle(|| 0);
    }

    /// Counts a cost that grows, as far as it exceeds what is counted, until it is settled.
    pub(super) fn charge(&mut self, cost: u64) {
        #[cfg(feature = "redis")]
        if let Some(ticket) = &mut self.link_ticket {
            return ticket.charge(cost);
        }
        let Some(ticket) = self.ticket.as_mut().filter(|ticket| cost > ticket.cost) else {
            return;
        };
        let counted = (ticket.cost, ticket.mark);
        ticket.change(|count, rule, now| count.settle(rule, counted, cost, now));
        ticket.cost = cost;
    }

    /// Counts the real cost of the request, the first time that it is called.
    pub(super) fn settle(&mut self, real: impl FnOnce() -> u64) {
        #[cfg(feature = "redis")]
        if let Some(mut ticket) = self.link_ticket.take() {
            self.left = ticket.settle(real());
            return;
        }
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let (real, reserved) = (real(), (ticket.cost, ticket.mark));
        self.left = Some(ticket.change(|count, rule, now| {
            count.settle(rule, reserved, real, now);
            count.left(rule, now)
        }));
    }

    /// Splits off what is settled later.
    pub(super) fn split(mut self) -> (Self, Self) {
        let ticket = self.ticket.take();
        let later = Self {
            ticket,
            #[cfg(feature = "redis")]
            link_ticket: self.link_ticket.take(),
            ..Self::uncounted()
        };
        (self, later)
    }
}

// ===== impl PermitTicket =====

impl<K: Kind> PermitTicket<K> {
    /// Changes the count that it was taken from.
    fn change<T>(&self, change: impl Fn(&mut K, &K::Rule, u64) -> T) -> T {
        let now = self.state.clock.now();
        let change = |count: &mut K, rule: &K::Rule| change(count, rule, now);
        let table = &self.state.table;
        table.change(self.key, self.plan, self.shared, now, change)
    }
}

impl<K: Kind> Drop for PermitTicket<K> {
    fn drop(&mut self) {
        if K::HELD {
            self.change(|count, _, now| count.give_back(self.cost, self.mark, now));
        }
    }
}

crate::macros::debug!(impl<K: Kind> Debug for Permit<K> |self| { left, .. });
