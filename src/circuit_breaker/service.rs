use std::{
    any::type_name,
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{failures::Failures, future::ResponseFuture};
use crate::{BoxError, Circuit, Classify, HttpClassifier};

/// A service that is left alone while it fails. See the [module docs](crate::circuit_breaker) for an example.
///
/// A clone shares the circuit.
#[derive(Clone)]
pub struct CircuitBreaker<S, C = HttpClassifier> {
    inner: S,
    circuit: Circuit,
    failures: Failures<C>,
}

// ===== impl CircuitBreaker =====

impl<S, C> CircuitBreaker<S, C> {
    pub(super) const fn new(inner: S, circuit: Circuit, failures: Failures<C>) -> Self {
        Self {
            inner,
            circuit,
            failures,
        }
    }

    crate::accessors::inner!(inner);

    /// The circuit that this service shares with its clones.
    pub fn circuit(&self) -> Circuit {
        self.circuit.clone()
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

    /// Passes through. It says nothing of the service's health.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        match self.circuit.enter() {
            Ok(watch) => {
                ResponseFuture::called(self.inner.call(request), watch, self.failures.clone())
            }
            Err(open) => {
                #[cfg(feature = "tracing")]
                tracing::debug!(retry_after = ?open.retry_after(), "circuit is open");
                // What the instance holds that was polled ready, such as the only permit of a limit further in, would be held
                // until somebody calls this service again.
                self.inner = self.inner.clone();
                ResponseFuture::refused(open)
            }
        }
    }
}

impl<S: fmt::Debug, C> fmt::Debug for CircuitBreaker<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("inner", &self.inner)
            .field("circuit", &self.circuit)
            .field("classifier", &type_name::<C>())
            .finish()
    }
}
