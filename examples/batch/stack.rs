//! The point of it all: the layers that keep a client inside a provider's limits.

use std::time::Duration;

use reqwest::{Request, Response};
use tower::{Service, ServiceBuilder};
use tower_throttle::{
    BoxError, ConcurrencyLayer, FallbackLayer, Quota, RetryAfterBackoffLayer, SlidingWindowLayer,
    retry_after_backoff::{ByStatus, Classify, Verdict},
};

use crate::{jobs, wire::Wire};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a provider allows.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limits {
    pub(crate) requests: Option<u64>,
    pub(crate) tokens: Option<u64>,
    pub(crate) concurrent: Option<u64>,
    /// The period that the first two speak of.
    pub(crate) window: Duration,
}

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

/// A client that stays inside `limits`, and repeats what is refused all the same.
///
/// With a fallback behind it, it gives up soon. Without one it waits out an outage.
pub(crate) fn client(limits: Limits, wire: Wire, has_fallback: bool) -> impl Answers {
    ServiceBuilder::new()
        .layer(try_again(has_fallback))
        .option_layer((!has_fallback).then(come_back_later))
        .option_layer(
            limits
                .concurrent
                .map(|most| ConcurrencyLayer::new(most as usize)),
        )
        .option_layer(
            limits
                .requests
                .map(|units| SlidingWindowLayer::new(limits.quota(units))),
        )
        .option_layer(
            limits
                .tokens
                .map(|units| SlidingWindowLayer::new(limits.quota(units)).cost(tokens)),
        )
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
fn was_not_acted_upon(request: &Request, outcome: Result<&Response, &BoxError>) -> Verdict {
    let is_down =
        outcome.is_ok_and(|response| matches!(response.status().as_u16(), 502 | 503 | 529));
    if is_down {
        return ByStatus::new().repeat_unsafe().classify(request, outcome);
    }
    ByStatus::new().classify(request, outcome)
}

/// What a request takes from the limit of tokens.
fn tokens(request: &Request) -> u64 {
    let body = request.body().and_then(|body| body.as_bytes());
    let body = body.and_then(|body| serde_json::from_slice(body).ok());
    body.map_or(1, |body| jobs::tokens(&body))
}

// ===== impl Limits =====

impl Limits {
    /// A quota over a period that is longer by a little, for requests that travel faster than those before them.
    fn quota(&self, units: u64) -> Quota {
        let margin =
            (self.window / 120).clamp(Duration::from_millis(20), Duration::from_millis(250));
        Quota::new(units, self.window).margin(margin)
    }
}
