//! The layers that keep a client inside a provider's limits.

use std::{collections::HashMap, time::Duration};

use reqwest::{Request, Response};
use tower::{Service, ServiceBuilder, util::BoxCloneService};
use tower_throttle::{
    BoxError, CacheLayer, Circuit, CircuitBreakerLayer, CircuitOpen, FallbackLayer, Outcome, Quota,
    RetryAfterBackoffLayer, StreamErrorLayer, TimeoutLayer,
    provider::ProviderLayer,
    retry::{Budget, OutcomePolicy, Policy, RetryAction},
    router::{RouterLayer, Target},
};

use crate::wire::Wire;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// About how long a probe of an open circuit takes.
const PROBE: Duration = Duration::from_millis(250);

/// A service that responds to requests, whatever its layers are.
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

/// A client with any number of backups.
pub(crate) type Boxed = BoxCloneService<Request, Response, BoxError>;

/// A client that keeps all of a provider's `limits` at once, and retries what is rejected all the
/// same.
///
/// No request is sent while the `circuit` is open, and no part of a response may take longer than
/// `timeout`. With a backup it gives up soon; without one it waits until an outage is over.
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
        // A stream with status 200 that begins with an error is an error.
        .layer(StreamErrorLayer::new())
        .layer(in_time(timeout))
        .service(wire)
}

/// Sends what fails at `first` to `backup`, after `redirect` has changed the request. While the
/// `circuit` of `first` is open, if there is one, requests go to `backup` at once.
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

/// A circuit that closes soon after an outage: a probe that fails costs little, since the request
/// goes to another provider.
pub(crate) fn circuit() -> Circuit {
    Circuit::new().cooldown(Duration::from_secs(1), Duration::from_secs(2))
}

/// Sends each request to the first of the `targets` that has room, or to the next if that fails,
/// over the wire of its name.
pub(crate) fn routed(
    targets: Vec<Target<Request>>,
    wires: &HashMap<String, Wire>,
    timeout: Duration,
) -> Boxed {
    let router = targets
        .into_iter()
        .fold(RouterLayer::ranked().always(), RouterLayer::target);
    let router = router.services(|name| {
        ServiceBuilder::new()
            .layer(StreamErrorLayer::new())
            .layer(in_time(timeout))
            .service(wires[name].clone())
    });
    let client = ServiceBuilder::new()
        .layer(try_again(false))
        .layer(come_back_later())
        .service(router);
    Boxed::new(client)
}

/// Sends equal requests once. The outermost layer, since a cached response takes nothing of any
/// limit.
pub(crate) fn with_cache(client: impl Answers) -> impl Answers {
    ServiceBuilder::new()
        .layer(CacheLayer::completions())
        .service(client)
}

/// Retries transient failures, a few times.
fn try_again(has_backup: bool) -> RetryAfterBackoffLayer {
    // A completion that is sent twice does no harm, but it may be paid for twice: not too often.
    let layer = RetryAfterBackoffLayer::new().retry_non_idempotent();
    if has_backup {
        // A backup can respond: one retry is enough.
        return layer.attempts(2);
    }
    // Many requests begin at once with an empty budget, and there is no backup: a reserve for all
    // of them.
    let budget = Budget::new(20, Quota::per_second(5).burst(100));
    layer.attempts(8).deadline(DAY).budget(budget)
}

/// Retries what the provider did not act upon for as long as that takes: a batch can wait.
fn come_back_later() -> RetryAfterBackoffLayer<impl Policy<Request, Response> + Clone + Send> {
    RetryAfterBackoffLayer::new()
        .policy(was_not_acted_upon)
        .attempts(u32::MAX)
        .max_backoff(DAY)
        .deadline(DAY)
        .no_budget()
}

/// Too many requests, no connection, or a provider that is down: the request itself may be fine.
///
/// A 429 because of insufficient funds is not among these: the limits make an error of it, which no
/// retry repeats.
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

/// Stops calls to a provider that fails, except for probes.
fn leave_alone(circuit: Circuit) -> CircuitBreakerLayer {
    // Too many requests are a matter of the limits.
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
