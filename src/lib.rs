//! Tower layers that keep a caller inside somebody else's limits, and callers inside yours.
//!
//! AI APIs refuse whoever goes too fast: so many requests a minute, so many tokens, so many calls at a time. These
//! layers wait instead of being refused, obey when they are told to wait, and turn elsewhere when waiting is too long.
//! Each of the five works alone, on any [`tower_service::Service`]: an HTTP client, a server, or something of your own.
//!
//! | layer | what it does |
//! | --- | --- |
//! | [`TokenBucketLayer`] | limits the rate at which requests start, with a burst |
//! | [`SlidingWindowLayer`] | limits how many start within any period |
//! | [`ConcurrencyLayer`] | limits how many are in flight, to the end of their bodies; the limit is yours, or finds itself |
//! | [`RetryAfterBackoffLayer`] | repeats what failed for a while only, when the server says so, or after a growing wait |
//! | [`FallbackLayer`] | answers from elsewhere where a service fails |
//!
//! Around the five:
//!
//! | layer | what it does |
//! | --- | --- |
//! | [`TimeoutLayer`] | bounds an attempt, its answer's first byte, the time between two chunks, and the whole call |
//! | [`CircuitBreakerLayer`] | leaves a service alone that fails, and lets one request at a time find out when it is well again |
//! | [`ReplayLayer`] | records bodies while they are streamed, so that they can be sent again |
//! | [`IdempotencyKeyLayer`] | gives all attempts of a request the same `Idempotency-Key` |
#![cfg_attr(
    feature = "cache",
    doc = "| [`CacheLayer`] | caches responses, and calls once for equal requests at the same time |"
)]
#![cfg_attr(
    feature = "provider",
    doc = "| [`ProviderLayer`](provider::ProviderLayer) | keeps all limits of an AI provider at once, and learns them from its answers |
| [`StreamErrorLayer`] | finds errors that come late, such as a stream that opens with 200 and then fails |
| [`RouterLayer`] | chooses, of several providers and models, whichever can answer soonest |
| [`StackLayer`] | all of these in the right order |"
)]
//!
//! # A client
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::convert::Infallible;
//! # use http::{Request, Response};
//! # use tower::service_fn;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use tower_throttle::{ConcurrencyLayer, Quota, RetryAfterBackoffLayer, SlidingWindowLayer};
//!
//! # let http_client = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new(String::from("hello"))));
//! // Any service will do: hyper's client, reqwest's, tonic's, your own.
//! let mut client = ServiceBuilder::new()
//!     .layer(RetryAfterBackoffLayer::new())
//!     .layer(ConcurrencyLayer::new(50))
//!     .layer(SlidingWindowLayer::new(Quota::per_minute(500)))
//!     .service(http_client);
//!
//! let request = Request::post("https://api.example.com/v1/chat/completions").body(String::new())?;
//! let response = client.ready().await?.call(request).await?;
//! assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
#![cfg_attr(
    feature = "provider",
    doc = "A whole provider's limits, counted together and learned from its answers, are one layer: see"
)]
#![cfg_attr(
    feature = "provider",
    doc = "[`provider`](mod@provider). The [`guide`](mod@guide) has the rules of practice, each with its lines."
)]
//!
//! # A server
//!
//! [`.respond()`](TokenBucketLayer::respond) makes a refusal a response, and leaves the error type alone, as axum wants it:
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_throttle::{Quota, TokenBucketLayer};
//!
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(TokenBucketLayer::new(Quota::per_second(10).burst(20)).respond());
//! # let _ = app;
//! ```
//!
//! Plain text, gRPC and answers of your own are in [`rejection`](mod@rejection).
//!
#![cfg_attr(
    feature = "per-key",
    doc = "[`.per(key)`](TokenBucketLayer::per) gives each caller a limit of its own: see [`per_key`](mod@per_key), and
[`guide::migration`] if you come from `tower_governor` or from tower's `RateLimit`."
)]
//!
//! # Which order
//!
//! The layer that is added first sees a request first. From the outside in:
//!
//! 1. [`FallbackLayer`], so that it answers for whatever fails further in, refusals by your own limits among them.
//! 2. [`RetryAfterBackoffLayer`], so that each attempt takes from the limits. Inside of them, five attempts of each request
//!    would be five times the limit.
//! 3. [`ConcurrencyLayer`], so that no request that was counted for a rate waits for a slot.
//! 4. [`TokenBucketLayer`] or [`SlidingWindowLayer`]. A request is counted when it leaves this layer; one that waits further in
//!    starts in a later period than the one it was counted in.
//! 5. [`CircuitBreakerLayer`], where it sees each attempt. A second one between 1 and 2, with the same circuit and
//!    [`check_only`](CircuitBreakerLayer::check_only), keeps requests out of the queue while the circuit is open.
//! 6. [`TimeoutLayer`], next to the client, so that it times the attempt and not the time in line.
//!
//! A `ProviderLayer` stands in place of 3 and 4.
//!
//! # What all of them share
//!
//! - **State is in the layer.** Every service that a layer makes, and every clone of those, shares it. Services are
//!   [`Clone`] whenever the inner one is. No `Buffer` is needed.
//! - **Waiting** is first in, first out, bounded by `max_wait` and `max_waiting`, and safe to drop at any point. It asks
//!   that the inner service be [`Clone`]: nothing that was polled ready is held while a request sleeps.
//! - **A refusal** is a [`Rejected`] inside a [`BoxError`], or a response. Inner errors pass unchanged, inside the
//!   [`BoxError`] where a layer has one.
//! - **Time** is tokio's, so `tokio::time::pause` drives all of it in your tests.
//! - **Limiters** can be used without tower: [`TokenBucketLimiter`], [`SlidingWindowLimiter`], [`ConcurrencyLimiter`].
//!
//! # Features
//!
//! All are off by default, and none takes anything away.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `axum` | axum's body can be sent again by a retry or a fallback if it is empty; keys read its `ConnectInfo` and `MatchedPath` |
//! | `hyper` | a retry understands the errors of hyper and of hyper-util's client, and lets its bodies through |
//! | `reqwest` | `reqwest::Client` as the innermost service |
//! | `reqwest-middleware` | any layer as a `reqwest_middleware::Middleware` |
//! | `tracing` | an event for each request that was refused, made to wait, retried or handed on |
//! | `per-key` | `.per(key)` on the three limits: one for each caller of a server, in bounded memory |
//! | `grpc` | `rejection::Grpc`: a refusal is a gRPC status with `RetryInfo` |
//! | `cache` | `CacheLayer`: a response cache, and one call for equal requests at the same time |
//! | `provider` | `ProviderLayer`, `StreamErrorLayer`, `RouterLayer` and `StackLayer`; whole provider quotas: requests, tokens and calls in flight at once, settled to real usage, learned from headers |
//! | `quanta` | a clock that is cheaper to read |
//! | `full` | all of these |
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "provider")]
mod ai;
mod backoff;
#[cfg(feature = "cache")]
#[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
pub mod cache;
pub mod circuit_breaker;
mod error;
pub mod fallback;
pub mod guide;
mod http;
pub mod idempotency_key;
#[cfg(any(feature = "axum", feature = "hyper", feature = "reqwest"))]
mod integrations;
mod limit;
mod macros;
#[cfg(any(feature = "cache", feature = "provider"))]
mod payload;
pub mod replay;
pub mod retry;
mod sync;
pub mod timeout;

#[cfg(feature = "provider")]
#[cfg_attr(docsrs, doc(cfg(feature = "provider")))]
pub use self::ai::{provider, router, stack, stream_errors};
#[cfg(feature = "per-key")]
#[cfg_attr(docsrs, doc(cfg(feature = "per-key")))]
pub use self::limit::{per_key, per_key::key};
pub use self::{
    circuit_breaker::circuit,
    fallback::predicate,
    limit::{concurrency, cost, rejection, sliding_window, token_bucket},
};

#[cfg(feature = "provider")]
#[cfg_attr(docsrs, doc(cfg(feature = "provider")))]
pub use self::ai::{
    router::{Router, RouterLayer},
    stack::StackLayer,
    stream_errors::{StreamErrorLayer, StreamErrorService},
    tokens::{TokenUsage, Tokens},
};
#[cfg(feature = "cache")]
#[cfg_attr(docsrs, doc(cfg(feature = "cache")))]
pub use self::cache::{Cache, CacheLayer};
#[cfg(any(feature = "cache", feature = "provider"))]
#[cfg_attr(docsrs, doc(cfg(any(feature = "cache", feature = "provider"))))]
pub use self::http::PeekBody;
#[cfg(feature = "provider")]
#[cfg_attr(docsrs, doc(cfg(feature = "provider")))]
pub use self::http::{Dimension, RateLimits, ReplaceBody, Reported};
#[cfg(feature = "reqwest")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest")))]
pub use self::integrations::{
    HttpClient, HttpClientFuture, HttpClientLayer, HttpRequestLayer, HttpRequestService, InvalidUrl,
};
#[cfg(feature = "reqwest-middleware")]
#[cfg_attr(docsrs, doc(cfg(feature = "reqwest-middleware")))]
pub use self::integrations::{LayerError, LayerMiddleware, NextFuture, NextService};
pub use self::{
    circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, circuit::Circuit},
    error::{
        BoxError, CircuitOpen, Classify, ErrorClassifier, HttpClassifier, LimitKind, Outcome,
        Reason, Rejected, TimedOut,
    },
    fallback::{Fallback, FallbackLayer},
    http::{GuardedBody, Hint, IntoHttp, RequestHead, ResponseHead, TryClone, WithBody},
    idempotency_key::{IdempotencyKey, IdempotencyKeyLayer},
    limit::{
        Clock, Cost, Decision, InvalidQuota, Quota,
        concurrency::{Concurrency, ConcurrencyLayer, ConcurrencyLimiter},
        sliding_window::{SlidingWindow, SlidingWindowLayer, SlidingWindowLimiter},
        token_bucket::{TokenBucket, TokenBucketLayer, TokenBucketLimiter},
    },
    replay::{Replay, ReplayLayer},
    retry::{RetryAfterBackoff, RetryAfterBackoffLayer},
    timeout::{Timeout, TimeoutLayer},
};

/// The response future that the limiters share.
pub mod future {
    pub use crate::limit::engine::{ReleasePolicy, ResponseFuture};
}

/// The examples of the README, compiled.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
