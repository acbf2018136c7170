//! The point of it all: the layers that keep a client inside a provider's limits.

use std::time::Duration;

use reqwest::{Request, Response};
use tower::{Service, ServiceBuilder, util::BoxCloneService};
use tower_throttle::{
    BoxError, FallbackLayer, RetryAfterBackoffLayer,
    provider::ProviderLayer,
    retry_after_backoff::{ByStatus, Classify, Verdict},
};

use crate::wire::Wire;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

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
/// With a fallback behind it, it gives up soon. Without one it waits out an outage.
pub(crate) fn client(
    limits: Option<ProviderLayer>,
    wire: Wire,
    has_fallback: bool,
) -> impl Answers {
    ServiceBuilder::new()
        .layer(try_again(has_fallback))
        .option_layer((!has_fallback).then(come_back_later))
        .option_layer(limits)
        .service(wire)
}

/// Hands to `backup` what `first` fails to answer, changed by `redirect` into a request of its own.
pub(crate) fn with_fallback(
    first: impl Answers,
    backup: impl Answers,
    redirect: impl Fn(Request) -> Request + Clone + Send + Sync + 'static,
) -> impl Answers {
    ServiceBuilder::new()
        .layer(FallbackLayer::new(backup).map_request(redirect))
        .service(first)
}

/// Repeats whatever may have been bad luck, a few times.
fn try_again(has_fallback: bool) -> RetryAfterBackoffLayer {
    // A completion that is asked for twice does no harm, but it may be paid for twice: not too often.
    let layer = RetryAfterBackoffLayer::new().repeat_unsafe();
    if has_fallback {
        // Somebody else can answer: one more try, and the budget keeps even that from a provider that is down.
        return layer.attempts(2);
    }
    // A fixed number of workers can't make a storm of retries: there is nothing for a budget to prevent.
    layer.attempts(5).deadline(DAY).no_budget()
}

/// Repeats what the provider did not act upon for as long as that takes. Nobody waits for the answer.
fn come_back_later() -> RetryAfterBackoffLayer<impl Classify<Request, Response> + Clone + Send> {
    RetryAfterBackoffLayer::new()
        .classify(was_not_acted_upon)
        .attempts(10_000)
        .max_wait(DAY)
        .deadline(DAY)
        .no_budget()
}

/// Too many requests, no connection, or a provider that is down: that says nothing against the request.
///
/// A 429 for want of money is not among these: the limits make an error of it, which no retry repeats.
fn was_not_acted_upon(request: &Request, outcome: Result<&Response, &BoxError>) -> Verdict {
    let is_down =
        outcome.is_ok_and(|response| matches!(response.status().as_u16(), 502 | 503 | 529));
    if is_down {
        return ByStatus::new().repeat_unsafe().classify(request, outcome);
    }
    ByStatus::new().classify(request, outcome)
}
