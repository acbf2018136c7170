use std::{any::type_name, fmt};

use tower_layer::{Identity, Layer, Stack as LayerStack};

#[cfg(feature = "cache")]
use crate::cache::CacheLayer;
use crate::{
    ai::{
        provider::{ProviderLayer, ProviderService},
        stream_errors::{Diagnose, DiagnoseLayer},
    },
    circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, FAILURES, circuit::Circuit},
    error::Outcome,
    fallback::FallbackLayer,
    idempotency_key::{IdempotencyKey, IdempotencyKeyLayer},
    retry::{RetryAfterBackoff, RetryAfterBackoffLayer},
    timeout::{Timeout, TimeoutLayer},
};

/// All layers in front of a client, in the order that makes sense. See the [module docs](crate::stack) for examples.
///
/// `F` is the fallback, and `C` the cache; without them they are nothing.
#[derive(Clone)]
#[must_use]
pub struct StackLayer<F = Identity, C = Identity> {
    limits: ProviderLayer,
    retry: RetryAfterBackoffLayer,
    key: IdempotencyKeyLayer,
    circuit: Circuit,
    failures: &'static [Outcome],
    has_fallback: bool,
    diagnose: DiagnoseLayer,
    timeout: TimeoutLayer,
    fallback: F,
    cache: C,
}

/// What opens the circuit where nobody else can answer.
const DOWN: [Outcome; 5] = [
    Outcome::NotSent,
    Outcome::Overloaded,
    Outcome::ServerError,
    Outcome::Timeout,
    Outcome::Interrupted,
];

/// What keys, repeats, limits and times the attempts of a client `S`.
pub type Stack<S> =
    IdempotencyKey<RetryAfterBackoff<ProviderService<CircuitBreaker<Diagnose<Timeout<S>>>>>>;

// ===== impl StackLayer =====

impl StackLayer {
    /// A stack that keeps these limits.
    ///
    /// Unless told otherwise it repeats POST as it does GET, since completions may be asked for twice, keys its requests, gives an
    /// attempt 30 s, leaves the provider alone once it is down, finds errors that come late, and has neither a fallback nor a
    /// cache.
    ///
    /// As long as there is no fallback, who is turned away has nobody else to ask. So the retry
    /// [waits](RetryAfterBackoffLayer::wait_for_circuit) while the circuit is open, and a rate limit does not open it: the limits
    /// wait that out.
    pub fn new(limits: ProviderLayer) -> Self {
        Self {
            limits,
            retry: RetryAfterBackoffLayer::new().retry_non_idempotent(),
            key: IdempotencyKeyLayer::new(),
            circuit: Circuit::new(),
            failures: &DOWN,
            has_fallback: false,
            diagnose: DiagnoseLayer::new(),
            timeout: TimeoutLayer::new(),
            fallback: Identity::new(),
            cache: Identity::new(),
        }
    }
}

impl<C> StackLayer<Identity, C> {
    /// Sets the circuit. Call it before [`fallback`](StackLayer::fallback), which shares the circuit.
    pub fn circuit(mut self, circuit: Circuit) -> Self {
        self.circuit = circuit;
        self
    }
}

impl<F, C> StackLayer<F, C> {
    /// How attempts are repeated. [`retry_non_idempotent`](RetryAfterBackoffLayer::retry_non_idempotent) unless told otherwise.
    pub fn retry(mut self, retry: RetryAfterBackoffLayer) -> Self {
        self.retry = retry;
        self
    }

    /// How long an attempt may take, and its body. 30 s for an attempt unless told otherwise.
    ///
    /// A timeout of the [whole call](TimeoutLayer::whole) goes around the stack.
    pub fn timeout(mut self, timeout: TimeoutLayer) -> Self {
        self.timeout = timeout;
        self
    }

    /// How errors that come late are found.
    pub fn diagnose(mut self, diagnose: DiagnoseLayer) -> Self {
        self.diagnose = diagnose;
        self
    }

    /// Which idempotency keys requests get.
    pub fn idempotency_key(mut self, key: IdempotencyKeyLayer) -> Self {
        self.key = key;
        self
    }

    /// Adds a fallback, which responds at once while the circuit is open. A rate limit then opens the
    /// circuit as well.
    ///
    /// The backup's responses have to be of the same type as the attempts': the responses of another
    /// stack of this kind are. A further backup is a further `FallbackLayer` around the stack.
    pub fn fallback<B, W, N>(
        self,
        fallback: FallbackLayer<B, W, N>,
    ) -> StackLayer<LayerStack<CircuitBreakerLayer, FallbackLayer<B, W, N>>, C> {
        let check = CircuitBreakerLayer::from(self.circuit.clone()).check_only();
        StackLayer {
            fallback: LayerStack::new(check, fallback),
            limits: self.limits,
            retry: self.retry,
            key: self.key,
            circuit: self.circuit,
            failures: &FAILURES,
            has_fallback: true,
            diagnose: self.diagnose,
            timeout: self.timeout,
            cache: self.cache,
        }
    }

    /// What keeps answers.
    #[cfg(feature = "cache")]
    #[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
    pub fn cache(self, cache: CacheLayer) -> StackLayer<F, CacheLayer> {
        StackLayer {
            cache,
            limits: self.limits,
            retry: self.retry,
            key: self.key,
            circuit: self.circuit,
            failures: self.failures,
            has_fallback: self.has_fallback,
            diagnose: self.diagnose,
            timeout: self.timeout,
            fallback: self.fallback,
        }
    }
}

impl<S, F, C> Layer<S> for StackLayer<F, C>
where
    F: Layer<Stack<S>>,
    C: Layer<F::Service>,
{
    type Service = C::Service;

    /// From the inside out.
    fn layer(&self, client: S) -> C::Service {
        let timed = self.timeout.layer(client);
        let diagnosed = self.diagnose.layer(timed);
        let breaker = CircuitBreakerLayer::from(self.circuit.clone())
            .failure_outcomes(self.failures.iter().copied());
        let limited = self.limits.layer(breaker.layer(diagnosed));
        let retry = match self.has_fallback {
            true => self.retry.clone(),
            false => self.retry.clone().wait_for_circuit(),
        };
        let attempts = self.key.layer(retry.layer(limited));
        self.cache.layer(self.fallback.layer(attempts))
    }
}

impl<F, C> fmt::Debug for StackLayer<F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StackLayer")
            .field("cache", &type_name::<C>())
            .field("fallback", &type_name::<F>())
            .field("key", &self.key)
            .field("retry", &self.retry)
            .field("limits", &self.limits)
            .field("circuit", &self.circuit)
            .field("diagnose", &self.diagnose)
            .field("timeout", &self.timeout)
            .finish()
    }
}
