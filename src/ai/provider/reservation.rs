//! What an admitted request holds.

use std::{fmt, sync::Arc, time::Duration};

use super::{Charge, ThrottleReason, ask::Lesson, quota::QuotaTicket, shared::ProviderState};
use crate::{ai::tokens::TokenUsage, http::RateLimits};

/// A request that has been admitted: its tokens are reserved, and it is in flight until this is dropped.
///
/// If it is dropped before it is settled, as by an error, a timeout or a panic, the request costs what
/// [`on_drop`](super::ProviderLimiter::on_drop) says: by default, the tokens that were reserved.
#[must_use = "dropping it ends the request"]
pub struct Reservation {
    pub(super) shared: Arc<ProviderState>,
    pub(super) ticket: Option<QuotaTicket>,
    pub(super) lesson: Option<Box<Lesson>>,
}

// ===== impl Reservation =====

impl Reservation {
    /// The answer has ended, and used so many tokens. What comes back of what was reserved depends on the
    /// [`Accounting`](super::Accounting): nothing where tokens count at admission, as they do unless told otherwise.
    #[inline]
    pub fn settle(mut self, usage: TokenUsage) {
        if let Some(lesson) = self.lesson.take() {
            lesson.learn(usage);
        }
        self.end(|_| Some(usage));
    }

    /// The response is complete and has not reported its usage: the tokens that were reserved count.
    pub(super) fn keep(mut self) {
        self.end(|_| None);
    }

    /// The answer is an error, for which no tokens count. It teaches nothing.
    pub(super) fn fail(mut self) {
        self.end(|_| Some(TokenUsage::default()));
    }

    /// The response is incomplete, and has reported this usage so far. It teaches nothing.
    pub(super) fn abandon(mut self, reported: TokenUsage) {
        self.end(|on_drop| on_drop.usage(reported));
    }

    /// The request was never sent: everything comes back.
    pub fn refund(mut self) {
        if let Some(ticket) = self.ticket.take() {
            let mut quotas = self.shared.lock();
            quotas.refund(&ticket);
            drop(quotas);
            self.shared.tell();
        }
    }

    /// The provider refused the request, for this reason, and asked for this wait if it asked for one: nobody starts
    /// until then, and the tokens come back.
    pub fn refuse(self, class: ThrottleReason, retry_after: Option<Duration>) {
        self.refuse_and_tell(class, retry_after, &RateLimits::default());
    }

    /// The same, where the head of the refusal says this of the limits.
    pub(super) fn refuse_and_tell(
        mut self,
        class: ThrottleReason,
        retry_after: Option<Duration>,
        limits: &RateLimits,
    ) {
        #[cfg(feature = "tracing")]
        tracing::debug!(?class, ?retry_after, "refused by the provider");
        if let Some(ticket) = self.ticket.take() {
            self.shared.learn(|quotas, now| {
                quotas.refuse(&ticket, class, retry_after, limits, now);
            });
        }
    }

    /// The provider let the request in, and its answer's head says this of the limits. Heard if the limiter
    /// [learns](super::ProviderLimiter::learn).
    pub fn observe(&self, limits: &RateLimits) {
        if let Some(ticket) = &self.ticket {
            self.shared
                .learn(|quotas, now| quotas.observe(ticket, limits, now));
        }
    }

    pub(super) fn learns(&self) -> bool {
        self.ticket.as_ref().is_some_and(|ticket| ticket.learns)
    }

    #[inline]
    fn end(&mut self, usage: impl FnOnce(Charge) -> Option<TokenUsage>) {
        if let Some(ticket) = self.ticket.take() {
            let mut quotas = self.shared.lock();
            let usage = usage(quotas.on_drop);
            let now = quotas.settles_in_time().then(|| self.shared.now());
            quotas.settle(&ticket, usage, now);
            drop(quotas);
            self.shared.tell();
        }
    }
}

impl Drop for Reservation {
    #[inline]
    fn drop(&mut self) {
        self.end(|on_drop| on_drop.usage(TokenUsage::default()));
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reservation")
            .field("is_held", &self.ticket.is_some())
            .finish_non_exhaustive()
    }
}
