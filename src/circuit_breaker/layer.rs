use std::{any::type_name, fmt};

use tower_layer::Layer;

use super::{ByKind, CircuitBreaker, ErrorsByKind};
use crate::{Circuit, ErrorKind};

/// Leaves a service alone that fails. See the [module docs](crate::circuit_breaker) for an example and the order of layers.
#[derive(Clone)]
#[must_use]
pub struct CircuitBreakerLayer<J = ByKind> {
    circuit: Circuit,
    judge: J,
}

// ===== impl CircuitBreakerLayer =====

impl CircuitBreakerLayer {
    /// A layer with a circuit of its own, and the defaults for everything.
    ///
    /// For other settings make it from a [`Circuit`] that has them: `CircuitBreakerLayer::from(Circuit::new().failures(3))`.
    pub fn new() -> Self {
        Self::from(Circuit::new())
    }

    /// Which kinds of failures count. See [`ByKind`] for those that do unless told otherwise.
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = ErrorKind>) -> Self {
        self.judge = ByKind::new(kinds);
        self
    }

    /// Lets the responses be of any type, not HTTP alone. All of them are successes then, and errors are judged by their kind.
    pub fn any_response(self) -> CircuitBreakerLayer<ErrorsByKind> {
        let judge = self.judge.errors();
        self.judge(judge)
    }
}

impl<J> CircuitBreakerLayer<J> {
    /// Decides with `judge` what came of an attempt. [`ByKind`] unless told otherwise.
    pub fn judge<J2>(self, judge: J2) -> CircuitBreakerLayer<J2> {
        CircuitBreakerLayer {
            circuit: self.circuit,
            judge,
        }
    }

    /// The circuit, which this layer shares with all that it makes, and with every clone of what is returned here.
    pub fn circuit(&self) -> Circuit {
        self.circuit.clone()
    }
}

/// A layer that shares this circuit.
impl From<Circuit> for CircuitBreakerLayer {
    fn from(circuit: Circuit) -> Self {
        let judge = ByKind::default();
        Self { circuit, judge }
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
            .finish()
    }
}

impl<S, J: Clone> Layer<S> for CircuitBreakerLayer<J> {
    type Service = CircuitBreaker<S, J>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.circuit.clone(), self.judge.clone())
    }
}
