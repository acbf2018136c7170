//! The point of it all: the layers that keep a client inside a provider's limits.

use std::time::Duration;

use reqwest::{Request, Response};
use tower::{Service, ServiceBuilder, util::BoxCloneService};
use tower_throttle::{
    BoxError, CacheLayer, Circuit, CircuitBreakerLayer, CircuitOpen, FallbackLayer, Outcome, Quota,
    RetryAfterBackoffLayer, StreamErrorLayer, TimeoutLayer,
    provider::ProviderLayer,
    retry::{Budget, OutcomePolicy, Policy, RetryAction},
};

use crate::wire::Wire;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it takes to find out whether a provider is well again, about.
const PROBE: Duration = Duration::from_millis(250);

/// A service that answers requests, however the layers are called that it is made of.
pub(crate) trait Answers:
    Service<Request, Response = Response, Error = BoxError, Future: Send> + Clone + Send + 'static
{
}

impl<S> Answers for S where
    S: Service<Request, Response = Response, Error = BoxError, Future: Send>
        + Clone
        + Send
        + 'static
{
}

/// One of which there may be another one behind it.
pub(crate) type Boxed = BoxCloneService<Request, Response, BoxError>;

/// A client that keeps all of a provider's `limits` at once, and repeats what is refused all the same.
///
/// A provider that fails is left alone while the `circuit` is open, and no part of an answer may take longer than `timeout`.
/// With somebody behind it, it gives up soon. Without, it waits out an outage.
pub(crate) fn client(
    limits: Option<ProviderLayer>,
    circuit: Circuit,
    timeout: Duration,
    wire: Wire,
    has_backup: bool,
) -> impl Answers {
    ServiceBuilder::new()
        .layer(try_again(has_backup))
        .option_layer((!has_backup).then(come_back_later))
        .option_layer(limits)
        .layer(leave_alone(circuit))
        // An answer that opens well and says then that it failed is no better than one that says so at once.
        .layer(StreamErrorLayer::new())
        .layer(in_time(timeout))
        .service(wire)
}

/// Hands to `backup` what `first` fails to answer, changed by `redirect` into a request of its own. While the `circuit` of
/// `first` is open, if it is one provider that has one, it hands over at once.
pub(crate) fn with_fallback(
    first: Boxed,
    circuit: Option<Circuit>,
    backup: impl Answers,
    redirect: impl Fn(Request) -> Request + Clone + Send + Sync + 'static,
) -> Boxed {
    let check = circuit.map(|circuit| CircuitBreakerLayer::from(circuit).check_only());
    let client = ServiceBuilder::new()
        .layer(FallbackLayer::new(backup).map_request(redirect))
        .option_layer(check)
        .service(first);
    Boxed::new(client)
}

/// Asks what was asked before no more. Outside of all, for what is known takes nothing of any limit.
pub(crate) fn with_cache(client: impl Answers) -> impl Answers {
    ServiceBuilder::new()
        .layer(CacheLayer::completions())
        .service(client)
}

/// Repeats whatever may have been bad luck, a few times.
fn try_again(has_backup: bool) -> RetryAfterBackoffLayer {
    // A completion that is asked for twice does no harm, but it may be paid for twice: not too often.
    let layer = RetryAfterBackoffLayer::new().retry_non_idempotent();
    if has_backup {
        // Somebody else can answer: one more try.
        return layer.attempts(2);
    }
    // Many begin at once with nothing saved, and nobody else will answer them: a reserve that is enough for all of them.
    let budget = Budget::new(20, Quota::per_second(5).burst(100));
    layer.attempts(8).deadline(DAY).budget(budget)
}

/// Repeats what the provider did not act upon for as long as that takes. Nobody waits for the answer.
fn come_back_later() -> RetryAfterBackoffLayer<impl Policy<Request, Response> + Clone + Send> {
    RetryAfterBackoffLayer::new()
        .policy(was_not_acted_upon)
        .attempts(u32::MAX)
        .max_backoff(DAY)
        .deadline(DAY)
        .no_budget()
}

/// Too many requests, no connection, or a provider that is down: that says nothing against the request.
///
/// A 429 for want of money is not among these: the limits make an error of it, which no retry repeats.
fn was_not_acted_upon(request: &Request, outcome: Result<&Response, &BoxError>) -> RetryAction {
    let is_down =
        outcome.is_ok_and(|response| matches!(response.status().as_u16(), 502 | 503 | 529));
    let open = outcome.err().and_then(|error| error.downcast_ref());
    match open.map(CircuitOpen::retry_after) {
        Some(wait) => RetryAction::retry_after(wait.unwrap_or(PROBE)),
        None if is_down => OutcomePolicy::new()
            .retry_non_idempotent()
            .action(request, outcome),
        None => OutcomePolicy::new().action(request, outcome),
    }
}

/// Asks a provider that fails no more but now and then, to see whether it is well again.
fn leave_alone(circuit: Circuit) -> CircuitBreakerLayer {
    // That there were too many requests is a matter of the limits.
    CircuitBreakerLayer::from(circuit).failure_outcomes([
        Outcome::NotSent,
        Outcome::Overloaded,
        Outcome::ServerError,
        Outcome::Timeout,
        Outcome::Interrupted,
    ])
}

/// Ends what stalls, and what never ends.
fn in_time(timeout: Duration) -> TimeoutLayer {
    TimeoutLayer::new()
        .attempt(timeout)
        .between_chunks(timeout)
        .whole_call(timeout.saturating_mul(10))
}
