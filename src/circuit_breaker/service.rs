use tower_service::Service;

use super::{
    failures::{FAILURES, Failures},
    future::{ResponseFuture, State},
};
use crate::{
    circuit_breaker::circuit::{CallGuard, Circuit},
    error::{
        BoxError, CircuitOpen, ClassifierFn, Classify, ErrorClassifier, HeadResult, HttpClassifier,
        Outcome, OutcomeSet,
    },
};

/// Rejects requests while the service fails.
///
/// See the [module docs](crate::circuit_breaker) for an example and the layer ordering.
#[derive(Clone)]
#[must_use]
pub struct CircuitBreakerLayer<C = HttpClassifier> {
    circuit: Circuit,
    failures: Failures<C>,
    check_only: bool,
}

/// Circuit breaker middleware. See the [module docs](crate::circuit_breaker) for an example.
///
/// A clone shares the circuit.
#[derive(Clone)]
pub struct CircuitBreaker<S, C = HttpClassifier> {
    inner: S,
    layer: CircuitBreakerLayer<C>,
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

crate::macros::layer!(impl<C: Clone> Layer for CircuitBreakerLayer<C> => CircuitBreaker);

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
