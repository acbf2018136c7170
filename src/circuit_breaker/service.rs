use tower_service::Service;

use super::{
    CircuitBreakerLayer,
    future::{ResponseFuture, State},
};
use crate::{
    circuit_breaker::circuit::{CallGuard, Circuit},
    error::{BoxError, CircuitOpen, Classify, HttpClassifier},
};

/// Circuit breaker middleware. See the [module docs](crate::circuit_breaker) for an example.
///
/// A clone shares the circuit.
#[derive(Clone)]
pub struct CircuitBreaker<S, C = HttpClassifier> {
    pub(super) inner: S,
    pub(super) layer: CircuitBreakerLayer<C>,
}

// ===== impl CircuitBreaker =====

impl<S, C> CircuitBreaker<S, C> {
    crate::macros::inner!(inner);

    /// Returns the circuit that this service shares with its clones.
    pub fn circuit(&self) -> Circuit {
        self.layer.circuit()
    }

    /// Returns the guard that counts the outcome of an admitted call, or `None` with `check_only`.
    #[inline]
    fn admit(&self) -> Result<Option<CallGuard>, CircuitOpen> {
        match self.layer.check_only {
            true => self.layer.circuit.check().map(|()| None),
            false => self.layer.circuit.enter().map(Some),
        }
    }
}

impl<S, C, Request> Service<Request> for CircuitBreaker<S, C>
where
    S: Service<Request> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, C>;

    // The result does not count.
    crate::macros::poll_ready!(inner);

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        let state = match self.admit() {
            Ok(watch) => State::Calling {
                future: self.inner.call(request),
                watch,
                failures: self.layer.failures.clone(),
            },
            Err(open) => {
                #[cfg(feature = "metrics")]
                self.layer.circuit.count_rejection();
                crate::macros::event!(
                    target: "tower_throttle::circuit_breaker",
                    retry_after = ?open.retry_after(),
                    "circuit is open"
                );
                // The ready instance may hold a permit of an inner limit; nothing else would drop
                // it.
                self.inner = self.inner.clone();
                State::Rejected { open }
            }
        };
        ResponseFuture { state }
    }
}

crate::macros::debug!(impl<S: std::fmt::Debug, C> Debug for CircuitBreaker<S, C> |self| {
    inner,
    layer,
    ..
});
