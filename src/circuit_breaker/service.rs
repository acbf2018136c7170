use std::{
    any::type_name,
    fmt,
    task::{Context, Poll},
};

use tower_service::Service;

use super::{ByKind, Judge, future::ResponseFuture};
use crate::{BoxError, Circuit};

/// A service that is left alone while it fails. See the [module docs](crate::circuit_breaker) for an example.
///
/// A clone shares the circuit.
#[derive(Clone)]
pub struct CircuitBreaker<S, J = ByKind> {
    inner: S,
    circuit: Circuit,
    judge: J,
}

// ===== impl CircuitBreaker =====

impl<S, J> CircuitBreaker<S, J> {
    pub(super) const fn new(inner: S, circuit: Circuit, judge: J) -> Self {
        Self {
            inner,
            circuit,
            judge,
        }
    }

    crate::accessors::inner!(inner);

    /// The circuit that this service shares with its clones.
    pub fn circuit(&self) -> Circuit {
        self.circuit.clone()
    }
}

impl<S, J, Request> Service<Request> for CircuitBreaker<S, J>
where
    S: Service<Request> + Clone,
    S::Error: Into<BoxError>,
    J: Judge<S::Response> + Clone,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, J>;

    /// Passes through. It says nothing of the service's health.
    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    #[inline]
    fn call(&mut self, request: Request) -> Self::Future {
        match self.circuit.enter() {
            Ok(watch) => {
                ResponseFuture::called(self.inner.call(request), watch, self.judge.clone())
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

impl<S: fmt::Debug, J> fmt::Debug for CircuitBreaker<S, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreaker")
            .field("inner", &self.inner)
            .field("circuit", &self.circuit)
            .field("judge", &type_name::<J>())
            .finish()
    }
}
