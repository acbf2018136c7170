use std::time::Duration;

use tower_service::Service;

use super::{
    Attempts, Policy, RetryAfterBackoffLayer,
    future::{NextAttempt, ResponseFuture, State},
    settings::RetryState,
};
use crate::{error::BoxError, http::TryClone};

/// Retry middleware, made by a [`RetryAfterBackoffLayer`](crate::RetryAfterBackoffLayer).
///
/// Clones share the settings and the budget.
#[derive(Clone)]
pub struct RetryAfterBackoff<S, P = super::OutcomePolicy> {
    pub(super) inner: S,
    pub(super) layer: RetryAfterBackoffLayer<P>,
}

// ===== impl RetryAfterBackoff =====

impl<S, P> RetryAfterBackoff<S, P> {
    crate::macros::inner!(inner);
}

impl<S, P, Request> Service<Request> for RetryAfterBackoff<S, P>
where
    S: Service<Request> + Clone,
    S::Error: Into<BoxError>,
    P: Policy<Request, S::Response> + Clone,
    Request: TryClone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S, P, Request>;

    crate::macros::poll_ready!(inner);

    #[inline(always)]
    fn call(&mut self, request: Request) -> Self::Future {
        let again = match self.layer.settings.attempts {
            ..=1 => None,
            _ => request.try_clone(),
        };
        let next = NextAttempt {
            request: again,
            budget: None,
            // The ready instance is called now, so the clone holds no permit.
            service: self.inner.clone(),
            layer: self.layer.clone(),
            progress: RetryState {
                attempts: Attempts::FIRST,
                last_wait: Duration::ZERO,
                has_resent: false,
                started: None,
            },
        };
        let future = self.inner.call(request);
        ResponseFuture {
            state: State::Calling { future },
            next,
        }
    }
}

crate::macros::debug!(impl<S: std::fmt::Debug, P> Debug for RetryAfterBackoff<S, P> |self| {
    inner,
    layer,
    ..
});
