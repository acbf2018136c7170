use tower_layer::Layer;

use super::{
    CircuitBreaker,
    failures::{FAILURES, Failures},
};
use crate::{
    circuit_breaker::circuit::Circuit,
    error::{ClassifierFn, ErrorClassifier, HeadResult, HttpClassifier, Outcome, OutcomeSet},
};

/// Rejects requests while the service fails.
///
/// See the [module docs](crate::circuit_breaker) for an example and the layer ordering.
#[derive(Clone)]
#[must_use]
pub struct CircuitBreakerLayer<C = HttpClassifier> {
    pub(super) circuit: Circuit,
    pub(super) failures: Failures<C>,
    pub(super) check_only: bool,
}

// ===== impl CircuitBreakerLayer =====

impl CircuitBreakerLayer {
    /// Creates a layer with the defaults and a circuit of its own.
    ///
    /// For other settings make it from a [`Circuit`] that has them, for example
    /// `CircuitBreakerLayer::from(Circuit::new().failures(3))`.
    pub fn new() -> Self {
        Self::from(Circuit::new())
    }

    /// Accepts responses of any type, not only HTTP. All of them are successes; errors are
    /// classified by [`Outcome::of_error`].
    pub fn any_response(self) -> CircuitBreakerLayer<ErrorClassifier> {
        self.classify(ErrorClassifier)
    }
}

impl<C> CircuitBreakerLayer<C> {
    /// Sets the outcomes that count as failures. Default: see the
    /// [module docs](crate::circuit_breaker#what-counts-as-a-failure).
    pub fn failure_outcomes(mut self, outcomes: impl IntoIterator<Item = Outcome>) -> Self {
        self.failures.outcomes = OutcomeSet::new(outcomes);
        self
    }

    /// Sets the classifier, which returns the outcome of an attempt. Default: [`HttpClassifier`].
    pub fn classify<C2>(self, classifier: C2) -> CircuitBreakerLayer<C2> {
        CircuitBreakerLayer {
            circuit: self.circuit,
            failures: Failures {
                classifier,
                outcomes: self.failures.outcomes,
            },
            check_only: self.check_only,
        }
    }

    /// Sets the classifier to a closure on the head of an HTTP response.
    ///
    /// # Examples
    ///
    /// ```
    /// use tower_throttle::{CircuitBreakerLayer, Outcome};
    ///
    /// let layer = CircuitBreakerLayer::new().classify_with(|result| match result {
    ///     Ok(response) if response.headers().contains_key("x-maintenance") => {
    ///         Some(Outcome::Overloaded)
    ///     }
    ///     result => Outcome::of(result),
    /// });
    /// # let _ = layer;
    /// ```
    pub fn classify_with<F>(self, classifier: F) -> CircuitBreakerLayer<ClassifierFn>
    where
        F: Fn(HeadResult<'_, '_>) -> Option<Outcome> + Send + Sync + 'static,
    {
        self.classify(ClassifierFn::new(classifier))
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

/// Creates a layer that shares this circuit.
impl From<Circuit> for CircuitBreakerLayer {
    fn from(circuit: Circuit) -> Self {
        Self {
            circuit,
            failures: Failures {
                classifier: HttpClassifier,
                outcomes: OutcomeSet::new(FAILURES),
            },
            check_only: false,
        }
    }
}

crate::macros::default!(CircuitBreakerLayer);

crate::macros::debug!(impl<C> Debug for CircuitBreakerLayer<C> |self| { circuit, check_only, .. });

impl<S, C: Clone> Layer<S> for CircuitBreakerLayer<C> {
    type Service = CircuitBreaker<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        let layer = self.clone();
        CircuitBreaker { inner, layer }
    }
}
