use std::{any::type_name, fmt};

use tower_layer::Layer;

use super::{ByKind, CircuitBreaker, ErrorsByKind};
use crate::{Circuit, ErrorKind};

/// Rejects requests while the service fails.
///
/// See the [module docs](crate::circuit_breaker) for an example and the order of layers.
#[derive(Clone)]
#[must_use]
pub struct CircuitBreakerLayer<J = ByKind> {
    circuit: Circuit,
    judge: J,
    check_only: bool,
}

// ===== impl CircuitBreakerLayer =====

impl CircuitBreakerLayer {
    /// Creates a layer with a circuit of its own and the defaults.
    ///
    /// For other settings make it from a [`Circuit`] that has them, for example
    /// `CircuitBreakerLayer::from(Circuit::new().failures(3))`.
    pub fn new() -> Self {
        Self::from(Circuit::new())
    }

    /// Sets which kinds of failures count. See [`ByKind`] for the default.
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = ErrorKind>) -> Self {
        self.judge = ByKind::new(kinds);
        self
    }

    /// Accepts responses of any type, not only HTTP. All of them are successes then, and errors count
    /// by their kind.
    pub fn any_response(self) -> CircuitBreakerLayer<ErrorsByKind> {
        let judge = self.judge.errors();
        self.judge(judge)
    }
}

impl<J> CircuitBreakerLayer<J> {
    /// Sets what an outcome means. Default: [`ByKind`].
    pub fn judge<J2>(self, judge: J2) -> CircuitBreakerLayer<J2> {
        CircuitBreakerLayer {
            circuit: self.circuit,
            judge,
            check_only: self.check_only,
        }
    }

    /// Rejects requests while the circuit is open, and counts no outcomes.
    ///
    /// This is for a second layer with the same circuit, outside of the limits, so that requests do
    /// not wait in a queue for a service that fails. The first layer, inside of the limits, counts
    /// the outcomes and admits the probe; without it the circuit never opens. The
    /// [module docs](crate::circuit_breaker#layer-ordering) show both.
    pub fn check_only(mut self) -> Self {
        self.check_only = true;
        self
    }

    /// Returns the circuit, which this layer shares with all services that it makes.
    pub fn circuit(&self) -> Circuit {
        self.circuit.clone()
    }
}

/// A layer that shares this circuit.
impl From<Circuit> for CircuitBreakerLayer {
    fn from(circuit: Circuit) -> Self {
        Self {
            circuit,
            judge: ByKind::default(),
            check_only: false,
        }
    }
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<J> fmt::Debug for CircuitBreakerLayer<J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer")
            .field("circuit", &self.circuit)
            .field("judge", &type_name::<J>())
            .field("check_only", &self.check_only)
            .finish()
    }
}

impl<S, J: Clone> Layer<S> for CircuitBreakerLayer<J> {
    type Service = CircuitBreaker<S, J>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker {
            inner,
            circuit: self.circuit.clone(),
            judge: self.judge.clone(),
            check_only: self.check_only,
        }
    }
}
