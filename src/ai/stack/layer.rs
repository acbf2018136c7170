use tower_layer::{Identity, Layer, Stack as LayerStack};

#[cfg(feature = "cache")]
use crate::cache::CacheLayer;
use crate::{
    ai::{
        provider::{ByLength, ProviderLayer, ProviderService},
        stream_errors::{StreamErrorLayer, StreamErrorService},
    },
    circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, FAILURES, circuit::Circuit},
    error::Outcome,
    fallback::FallbackLayer,
    idempotency_key::{IdempotencyKey, IdempotencyKeyLayer},
    limit::{UniformPriority, rejection::AsError},
    retry::{RetryAfterBackoff, RetryAfterBackoffLayer},
    timeout::{Timeout, TimeoutLayer},
};

/// Layer with all layers for a client of an AI provider, in the recommended order. See the [module
/// docs](crate::stack) for examples.
///
/// `F` is the fallback, and `C` the cache; both default to none. `P` is the
/// [priority](ProviderLayer::priority) of the limits.
#[derive(Debug, Clone)]
#[must_use]
pub struct StackLayer<F = Identity, C = Identity, P = UniformPriority> {
    cache: C,
    fallback: F,
    attempts: AttemptLayers<P>,
}

/// The layers around each attempt.
#[derive(Debug, Clone)]
struct AttemptLayers<P> {
    key: IdempotencyKeyLayer,
    retry: RetryAfterBackoffLayer,
    limits: ProviderLayer<ByLength, AsError, P>,
    circuit: Circuit,
    has_fallback: bool,
    diagnose: StreamErrorLayer,
    timeout: TimeoutLayer,
}

/// The service of a stack without a fallback and a cache.
pub type Stack<S, P = UniformPriority> = IdempotencyKey<
    RetryAfterBackoff<
        ProviderService<CircuitBreaker<StreamErrorService<Timeout<S>>>, ByLength, AsError, P>,
    >,
>;

// ===== impl StackLayer =====

impl<P> StackLayer<Identity, Identity, P> {
    /// Creates a stack with the given limits.
    ///
    /// By default it retries POST like GET, since completions may be repeated, adds idempotency
    /// keys, limits an attempt to 2 minutes, has a circuit breaker, detects stream errors, and has
    /// neither a fallback nor a cache.
    ///
    /// Without a fallback a rejected request has no alternative. So the retry
    /// [waits](RetryAfterBackoffLayer::wait_for_circuit) while the circuit is open, and a rate
    /// limit does not open it: the limits wait instead.
    pub fn new(limits: ProviderLayer<ByLength, AsError, P>) -> Self {
        Self {
            cache: Identity::new(),
            fallback: Identity::new(),
            attempts: AttemptLayers {
                key: IdempotencyKeyLayer::new(),
                retry: RetryAfterBackoffLayer::new().retry_non_idempotent(),
                limits,
                circuit: Circuit::new(),
                has_fallback: false,
                diagnose: StreamErrorLayer::new(),
                timeout: TimeoutLayer::new(),
            },
        }
    }
}

impl<C, P> StackLayer<Identity, C, P> {
    /// Sets the circuit. Call it before [`fallback`](StackLayer::fallback), which shares the
    /// circuit.
    pub fn circuit(mut self, circuit: Circuit) -> Self {
        self.attempts.circuit = circuit;
        self
    }
}

impl<F, C, P> StackLayer<F, C, P> {
    /// Sets the retry. The default is
    /// [`retry_non_idempotent`](RetryAfterBackoffLayer::retry_non_idempotent).
    pub fn retry(mut self, retry: RetryAfterBackoffLayer) -> Self {
        self.attempts.retry = retry;
        self
    }

    /// Sets the timeout of an attempt and its body. The default is 2 minutes for an attempt.
    ///
    /// A timeout of the [whole call](TimeoutLayer::whole) goes around the stack.
    pub fn timeout(mut self, timeout: TimeoutLayer) -> Self {
        self.attempts.timeout = timeout;
        self
    }

    /// Sets the detection of stream errors.
    pub fn diagnose(mut self, diagnose: StreamErrorLayer) -> Self {
        self.attempts.diagnose = diagnose;
        self
    }

    /// Sets the idempotency keys of requests.
    pub fn idempotency_key(mut self, key: IdempotencyKeyLayer) -> Self {
        self.attempts.key = key;
        self
    }

    /// Adds a fallback, which responds at once while the circuit is open. A rate limit then opens
    /// the circuit as well.
    ///
    /// The response type of the fallback must equal the one of the attempts, as in another stack of
    /// this kind. Wrap the stack in a `FallbackLayer` to add another fallback.
    pub fn fallback<B, W>(
        self,
        fallback: FallbackLayer<B, W>,
    ) -> StackLayer<LayerStack<CircuitBreakerLayer, FallbackLayer<B, W>>, C, P> {
        let check = CircuitBreakerLayer::from(self.attempts.circuit.clone()).check_only();
        StackLayer {
            cache: self.cache,
            fallback: LayerStack::new(check, fallback),
            attempts: AttemptLayers {
                has_fallback: true,
                ..self.attempts
            },
        }
    }

    /// Adds a cache of responses.
    #[cfg(feature = "cache")]
    pub fn cache(self, cache: CacheLayer) -> StackLayer<F, CacheLayer, P> {
        StackLayer {
            cache,
            fallback: self.fallback,
            attempts: self.attempts,
        }
    }
}

impl<S, F, C, P> Layer<S> for StackLayer<F, C, P>
where
    F: Layer<Stack<S, P>>,
    C: Layer<F::Service>,
    P: Clone,
{
    type Service = C::Service;

    /// From the inside out.
    fn layer(&self, client: S) -> C::Service {
        let attempts = &self.attempts;
        let timed = attempts.timeout.layer(client);
        let diagnosed = attempts.diagnose.layer(timed);
        // A rate limit opens the circuit only if there is a fallback.
        let opens = |outcome: &Outcome| attempts.has_fallback || *outcome != Outcome::RateLimited;
        let breaker = CircuitBreakerLayer::from(attempts.circuit.clone())
            .failure_outcomes(FAILURES.into_iter().filter(opens));
        let limited = attempts.limits.layer(breaker.layer(diagnosed));
        let retry = match attempts.has_fallback {
            true => attempts.retry.clone(),
            false => attempts.retry.clone().wait_for_circuit(),
        };
        let keyed = attempts.key.layer(retry.layer(limited));
        self.cache.layer(self.fallback.layer(keyed))
    }
}
