//! Compares limiters before taking from one of them.

use std::{sync::Arc, time::Duration};

use super::{ProviderLimiter, Reservation, ask::TokenRequest, shared::ProviderState};
use crate::{
    ai::tokens::Tokens,
    error::Rejected,
    limit::{
        Priority,
        engine::{Limiter, QueuedCall},
    },
};

/// A service with its place in the queue of one limiter.
pub(crate) type Lane<S> = QueuedCall<S, Arc<ProviderState>>;

pub(crate) use super::quota::WHOLE;

// ===== impl ProviderLimiter =====

impl ProviderLimiter {
    /// Returns `true` if a request for `tokens` would be admitted now.
    pub(crate) fn can_start(&self, tokens: Tokens) -> bool {
        if self.is_closed() {
            return false;
        }
        let (mut quotas, now) = self.0.quotas();
        #[cfg(feature = "redis")]
        if let Some(store) = &self.0.store {
            // The units have to be there.
            let is_next = quotas.queued.requests == 0;
            return is_next && store.look(&mut quotas, tokens, now).is_ok();
        }
        quotas.can_start(tokens, now)
    }

    /// Takes from all limits if there is room now.
    pub(crate) fn start(&self, tokens: Tokens) -> Option<Reservation> {
        let ask = TokenRequest::plain(tokens);
        self.0.enter(&ask, Duration::ZERO).ok()
    }

    /// Returns the expected wait of a new request if `share` parts of [`WHOLE`] of the queue are
    /// served by this limiter and the others elsewhere; `None` if it is unknown.
    ///
    /// # Errors
    ///
    /// Returns an error if the request never fits, or if the limiter is closed.
    pub(crate) fn outlook(&self, tokens: Tokens, share: u64) -> Result<Option<Duration>, Rejected> {
        if self.is_closed() {
            return Err(self.too_long(tokens, Duration::ZERO, None).closed());
        }
        let (mut quotas, now) = self.0.quotas();
        #[cfg(feature = "redis")]
        if let Some(store) = &self.0.store {
            return store.outlook(&mut quotas, tokens, share, now);
        }
        quotas.outlook(tokens, share, now)
    }

    /// Returns the rejection of a request that would wait too long.
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

    /// Joins the queue, if fewer than `max_waiting` wait, for as long as it takes, to call
    /// `service` in its turn. Nothing is taken before that.
    pub(crate) fn queue<S>(
        &self,
        tokens: Tokens,
        expected: Option<Duration>,
        max_waiting: usize,
        service: S,
    ) -> Result<Lane<S>, Rejected> {
        let ask = TokenRequest::plain(tokens);
        let rejected = self.too_long(tokens, Duration::ZERO, expected);
        let waiting = self
            .0
            .wait(ask, Priority::High, rejected, Duration::MAX, max_waiting)?;
        QueuedCall::join(waiting, service)
    }

    /// Returns the number of queued requests.
    pub(crate) fn waiting(&self) -> usize {
        self.0.wait_queue.waiting()
    }
}
