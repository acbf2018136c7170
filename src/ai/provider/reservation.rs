//! The resources of an admitted request.

use std::{sync::Arc, time::Duration};

use super::{Charge, ThrottleReason, ask::Lesson, quota::QuotaTicket, shared::ProviderState};
use crate::{ai::tokens::TokenUsage, http::RateLimits, payload::error_body::LimitError};

/// An admitted request: its tokens are reserved, and it is in flight until this is dropped.
///
/// If it is dropped before it is settled, such as by an error, a timeout or a panic, the request
/// costs what [`on_drop`](super::ProviderLimiter::on_drop) says: by default, the tokens that were
/// reserved.
#[must_use = "dropping it ends the request"]
pub struct Reservation {
    pub(super) shared: Arc<ProviderState>,
    pub(super) ticket: Option<QuotaTicket>,
    pub(super) lesson: Option<Box<Lesson>>,
}

// ===== impl Reservation =====

impl Reservation {
    /// Ends the request after a response that used `usage`.
    ///
    /// How much of the reservation is returned depends on the [`Accounting`](super::Accounting). By
    /// default tokens count at admission, and nothing is returned.
    #[inline]
    pub fn settle(mut self, usage: TokenUsage) {
        if let Some(lesson) = self.lesson.take() {
            lesson.learn(usage);
        }
        self.end(|_| Some(usage));
    }

    /// Ends a request that was never sent: everything is returned.
    pub fn refund(mut self) {
        if let Some(ticket) = self.ticket.take() {
            self.shared.lock().refund(&ticket);
            self.shared.wait_queue.wake_head();
        }
    }

    /// Ends a request that the provider rejected: the tokens are returned, and no request starts
    /// for `retry_after`.
    pub fn refuse(self, class: ThrottleReason, retry_after: Option<Duration>) {
        self.refuse_and_tell(class, retry_after, &RateLimits::default());
    }

    /// Like [`refuse`](Self::refuse), with the limits that the response headers report.
    pub(super) fn refuse_and_tell(
        mut self,
        class: ThrottleReason,
        retry_after: Option<Duration>,
        limits: &RateLimits,
    ) {
        crate::macros::event!(
            target: "tower_throttle::provider",
            ?class, ?retry_after, "rejected by the provider"
        );
        if let Some(ticket) = self.ticket.take() {
            self.shared.learn(limits, |quotas, now| {
                quotas.refuse(&ticket, class, retry_after, limits, now);
            });
        }
    }

    /// Ends a request whose stream ended with a rejection. `reported` is its usage, and whether
    /// that is final.
    pub(super) fn refuse_late(mut self, reported: Option<(TokenUsage, bool)>, limit: &LimitError) {
        let Some(ticket) = self.ticket.take() else {
            return;
        };
        let told = RateLimits::default();
        self.shared.learn(&told, |quotas, now| {
            let usage = match reported {
                Some((usage, true)) => Some(usage),
                reported => quotas.on_drop.usage(reported.unwrap_or_default().0),
            };
            let settled = quotas.settles_in_time().then_some(now);
            quotas.settle(&ticket, usage, settled);
            quotas.heed(&ticket, limit.class, limit.retry_after, &told, now);
        });
    }

    /// Observes the limits in the headers of a successful response. Has no effect if
    /// [`learn`](super::ProviderLimiter::learn) is off.
    pub fn observe(&self, limits: &RateLimits) {
        if let Some(ticket) = &self.ticket {
            self.shared
                .learn(limits, |quotas, now| quotas.observe(ticket, limits, now));
        }
    }

    pub(super) fn learns(&self) -> bool {
        self.ticket.as_ref().is_some_and(QuotaTicket::learns)
    }

    /// Ends the request with its usage; `None` keeps what is reserved. No ratio is learned.
    #[inline]
    pub(super) fn end(&mut self, usage: impl FnOnce(Charge) -> Option<TokenUsage>) {
        // Not moved out of its place, since it is large.
        if let Some(ticket) = &self.ticket {
            let mut quotas = self.shared.lock();
            let usage = usage(quotas.on_drop);
            let now = quotas.settles_in_time().then(|| self.shared.clock.now());
            quotas.settle(ticket, usage, now);
            drop(quotas);
            self.shared.wait_queue.wake_head();
        }
        self.ticket = None;
    }
}

impl Drop for Reservation {
    #[inline]
    fn drop(&mut self) {
        self.end(|on_drop| on_drop.usage(TokenUsage::default()));
    }
}

crate::macros::debug!(impl Debug for Reservation |self| { is_held: self.ticket.is_some(), .. });
