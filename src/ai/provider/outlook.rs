//! What a limiter has to say to one who compares several before taking from any of them.

use std::{sync::Arc, time::Duration};

use super::{ProviderLimiter, Reservation, ask::TokenRequest, shared::ProviderState};
use crate::{
    ai::tokens::Tokens,
    error::Rejected,
    limit::engine::{Limiter, QueuedCall},
};

/// A place in one limiter's queue, and the service that waits there.
pub(crate) type Lane<S> = QueuedCall<S, Arc<ProviderState>>;

pub(crate) use super::quota::WHOLE;

// ===== impl ProviderLimiter =====

impl ProviderLimiter {
    /// Whether a request of so many tokens would be let in now.
    pub(crate) fn can_start(&self, tokens: Tokens) -> bool {
        let (mut quotas, now) = self.0.quotas();
        quotas.can_start(tokens, now)
    }

    /// Takes from all limits if there is room now.
    pub(crate) fn start(&self, tokens: Tokens) -> Option<Reservation> {
        let ask = TokenRequest::plain(tokens);
        self.0.enter(&ask, Duration::ZERO).ok()
    }

    /// How long a newcomer would wait, if so many parts of [`WHOLE`] of those ahead wait for this limiter and the others
    /// go elsewhere; `None` where nobody knows. An error if it would wait for ever.
    pub(crate) fn outlook(&self, tokens: Tokens, share: u64) -> Result<Option<Duration>, Rejected> {
        let (mut quotas, now) = self.0.quotas();
        quotas.outlook(tokens, share, now)
    }

    /// The refusal of one who will not wait that long.
    pub(crate) fn too_long(
        &self,
        tokens: Tokens,
        max_wait: Duration,
        wait: Option<Duration>,
    ) -> Rejected {
        let (mut quotas, now) = self.0.quotas();
        let limit = quotas.due(tokens, now, Some(WHOLE)).1;
        Rejected::too_long(limit, max_wait, wait)
    }

    /// Joins the queue, if fewer than `max_waiting` wait, for as long as it takes, to call `service` in its
    /// turn. Nothing is taken before that.
    pub(crate) fn queue<S>(
        &self,
        tokens: Tokens,
        expected: Option<Duration>,
        max_waiting: usize,
        service: S,
    ) -> Result<Lane<S>, Rejected> {
        let ask = TokenRequest::plain(tokens);
        let rejected = self.too_long(tokens, Duration::ZERO, expected);
        let waiting = self.0.wait(ask, rejected, Duration::MAX, max_waiting)?;
        QueuedCall::join(waiting, service)
    }

    /// How many wait.
    pub(crate) fn waiting(&self) -> usize {
        self.0.wait_queue.waiting()
    }
}
