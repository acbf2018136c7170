//! What an admitted request holds.

use std::{fmt, sync::Arc};

use super::{
    ask::Demand,
    callers::Callers,
    kind::{Kind, Rate},
};
use crate::{
    error::Rejected, http::headers::rate_limit::standing::Standing, limit::key::ClientKey,
};

/// What an admitted request holds: where its caller's limit stands, and what is to be given back or settled.
///
/// With a limit on what is [in flight](super::InFlight) dropping it lets the caller's next request start.
#[must_use = "dropping it lets the caller's next request start"]
pub struct Admitted<K: Kind> {
    left: Option<K::Left>,
    // Boxed, so that a request for which nothing more is to be done is small.
    ticket: Option<Box<AdmissionTicket<K>>>,
    /// Why the request would have been rejected, if the limit is a shadow.
    rejection: Option<Box<Rejected>>,
}

/// What one request took, and from whom.
struct AdmissionTicket<K: Kind> {
    callers: Arc<Callers<K>>,
    caller: ClientKey,
    plan: Option<K::Plan>,
    cost: u64,
    mark: K::Mark,
    shared: bool,
}

// ===== impl Admitted =====

impl<K: Kind> Admitted<K> {
    /// For a request that is let pass without being counted.
    pub(super) fn uncounted() -> Self {
        Self {
            left: None,
            ticket: None,
            rejection: None,
        }
    }

    /// For a request that would have been rejected, and passes because the limit is a shadow.
    pub(super) fn shadowed(rejected: &Rejected) -> Self {
        Self {
            rejection: Some(Box::new(rejected.clone())),
            ..Self::uncounted()
        }
    }

    pub(super) fn rejection(&self) -> Option<&Rejected> {
        self.rejection.as_deref()
    }

    #[inline]
    pub(super) fn new(
        callers: &Arc<Callers<K>>,
        asked: &Demand<K::Plan>,
        mark: K::Mark,
        left: K::Left,
        shared: bool,
    ) -> Self {
        let ticket = (K::HELD || asked.settles).then(|| {
            Box::new(AdmissionTicket {
                callers: callers.clone(),
                caller: asked.caller(),
                plan: asked.plan,
                cost: asked.cost,
                mark,
                shared,
            })
        });
        Self {
            left: Some(left),
            ticket,
            rejection: None,
        }
    }

    /// Shows where each of the caller's limits stands, if the request was counted.
    pub(super) fn standings(&self, show: &mut dyn FnMut(Standing<'static>)) {
        if let Some(left) = &self.left {
            K::standings(left, show);
        }
    }
}

impl<K: Rate> Admitted<K> {
    /// Counts what the request really cost. Once, and not for one that was never counted.
    pub(super) fn settle(&mut self, real: impl FnOnce() -> u64) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let real = real();
        let (callers, reserved) = (&ticket.callers, (ticket.cost, ticket.mark));
        let now = callers.clock.now();
        let (caller, plan, shared) = (ticket.caller, ticket.plan, ticket.shared);
        let settle = |count: &mut K, rule: &K::Rule| {
            count.settle(rule, reserved, real, now);
            count.left(rule, now)
        };
        self.left = Some(callers.table.change(caller, plan, shared, now, settle));
    }

    /// The same without what is settled later.
    pub(super) fn split(mut self) -> (Self, Self) {
        let ticket = self.ticket.take();
        let later = Self {
            ticket,
            ..Self::uncounted()
        };
        (self, later)
    }
}

impl<K: Kind> Drop for AdmissionTicket<K> {
    fn drop(&mut self) {
        if K::HELD {
            let now = self.callers.clock.now();
            let (cost, mark) = (self.cost, self.mark);
            let give_back = |count: &mut K, _: &K::Rule| count.give_back(cost, mark, now);
            self.callers
                .table
                .change(self.caller, self.plan, self.shared, now, give_back);
        }
    }
}

impl<K: Kind> fmt::Debug for Admitted<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted")
            .field("left", &self.left)
            .finish_non_exhaustive()
    }
}
