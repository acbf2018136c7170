//! Rate limits, concurrency limits, retries and fallbacks for tower services.
//!
//! AI APIs reject clients that send too fast. These layers queue requests instead, wait as long as
//! the server says, and fall back to another service. In front of a server, the same layers limit
//! its clients. Each layer works alone, on any [`tower_service::Service`].
//!
//! # Examples
//!
//! A client:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::convert::Infallible;
//! # use http::{Request, Response};
//! # use tower::service_fn;
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use tower_throttle::{ConcurrencyLayer, Quota, RetryAfterBackoffLayer, TokenBucketLayer};
//!
//! # let http_client = service_fn(async |_: Request<String>| {
//! #     Ok::<_, Infallible>(Response::new(String::new()))
//! # });
//! let mut client = ServiceBuilder::new()
//!     .layer(RetryAfterBackoffLayer::new())
//!     .layer(ConcurrencyLayer::new(50))
//!     .layer(TokenBucketLayer::new(Quota::per_minute(500).burst(20)))
//!     .service(http_client); // of hyper, reqwest or tonic, or your own
//!
//! let request = Request::post("https://api.example.com/v1/chat/completions").body(String::new())?;
//! let response = client.ready().await?.call(request).await?;
//! assert!(response.status().is_success());
//! # Ok(())
//! # }
//! ```
//!
//! A server. [`respond`](TokenBucketLayer::respond) rejects with a 429 and does not change the
//! error type, as axum requires:
//!
//! ```
//! use axum::{Router, routing::get};
//! use tower_throttle::{Quota, TokenBucketLayer};
//!
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(TokenBucketLayer::new(Quota::per_second(10).burst(20)).respond());
//! # let _ = app;
//! ```
//!
#![cfg_attr(
    feature = "per-key",
    doc = "[`per`](TokenBucketLayer::per) gives each client a limit: see [`per_key`](mod@per_key)."
)]
//! [`rejection`](mod@rejection) has other responses: plain text, JSON and gRPC.
//!
//! # Layers
//!
//! | layer | what it does | if a request does not fit |
//! | --- | --- | --- |
//! | [`TokenBucketLayer`] | limits the rate at which requests start, with a burst | waits; after `.respond()` rejects with 429 |
//! | [`SlidingWindowLayer`] | limits the requests that start in any period | waits; after `.respond()` rejects with 429 |
//! | [`ConcurrencyLayer`] | limits the requests in flight, until the end of their bodies | waits; after `.respond()` rejects with 503 |
//! | [`RetryAfterBackoffLayer`] | retries when the server says so, or with exponential backoff | |
//! | [`FallbackLayer`] | responds from elsewhere if a service fails | |
//! | [`TimeoutLayer`] | bounds an attempt, the first byte, the time between chunks, and the whole call | |
//! | [`CircuitBreakerLayer`] | rejects requests to a failing service, and probes it | rejects while the circuit is open |
//! | [`ReplayLayer`] | records streamed bodies, so that a retry can send them again | |
//! | [`IdempotencyKeyLayer`] | gives all attempts of a request the same `Idempotency-Key` | |
#![cfg_attr(
    feature = "cache",
    doc = "| [`CacheLayer`] | caches responses of model APIs, and \
sends equal requests at the same time once | |"
)]
#![cfg_attr(
    feature = "provider",
    doc = "| [`ProviderLayer`](provider::ProviderLayer) | \
keeps all limits of an AI provider, and learns them from responses | waits |
| [`RouterLayer`] | sends a request to the provider or model that can respond soonest | |
| [`StreamErrorLayer`] | turns an error at the start of a stream with status 200 into its status | |
| [`StackLayer`] | the layers of a provider's client in the recommended order | |"
)]
//!
//! `max_wait` and `max_waiting` bound the queue of a limit. After `.respond()`, `max_wait` lets
//! requests wait. Limits with `.per(key)` reject at once by default.
//!
//! # Layer ordering
//!
//! The layer that is added first sees a request first. From the outside in:
//!
//! 1. [`FallbackLayer`]: responds if anything below fails, a rejection by your own limits included.
//! 2. [`RetryAfterBackoffLayer`]: each attempt takes from the limits.
//! 3. [`ConcurrencyLayer`]: no request that was counted for a rate waits for a slot.
//! 4. [`TokenBucketLayer`] or [`SlidingWindowLayer`]: a request is counted when it starts.
//! 5. [`CircuitBreakerLayer`]: counts each attempt. A second one between 1 and 2, with the same
//!    circuit and [`check_only`](CircuitBreakerLayer::check_only), rejects before the queue.
//! 6. [`TimeoutLayer`]: bounds the attempt, without the time in the queue.
//!
//! [`guide::layer_order`] shows what goes wrong in other orders.
//!
//! # Guides
//!
//! [Layer order](guide::layer_order) · [patterns](guide::patterns) ·
//! [migration](guide::migration) · [testing](guide::testing) ·
//! [compiler errors](guide::compiler_errors) · [browsers](guide::browsers) ·
//! [shared limits](guide::shared) · [telemetry](guide::telemetry) ·
//! [production](guide::production)
//!
//! # How the layers work
//!
//! - **State** is in the layer. All services that a layer makes, and their clones, share it. A
//!   service is [`Clone`] if the inner one is. No `Buffer` is needed.
//! - **Waiting** is first in, first out within a [`Priority`], and cancel safe. The inner service
//!   must be [`Clone`], so that none is held while a request waits.
//! - **A rejection** is a [`Rejected`] in a [`BoxError`], or a response. Errors of the inner
//!   service are passed on, in the [`BoxError`] if a layer returns one.
//! - **Time** is tokio's, so `tokio::time::pause` works in tests.
//! - **Limiters** work without tower: [`TokenBucketLimiter`], [`SlidingWindowLimiter`] and
//!   [`ConcurrencyLimiter`].
//! - **Limits hold per process**, unless they are [shared](guide::shared) through Redis.
//! - **`wasm32` is not supported.**
//!
//! # Features
//!
//! All are off by default.
//!
//! | feature | what it adds |
//! | --- | --- |
//! | `axum` | axum's body can be retried if it is empty; keys read `ConnectInfo` and `MatchedPath` |
//! | `hyper` | for hyper and hyper-util's client, whose errors are not retried without it; and its bodies |
//! | `reqwest` | `reqwest::Client` as the innermost service, and its errors |
//! | `reqwest-middleware` | any layer as a `reqwest_middleware::Middleware` |
//! | `per-key` | `.per(key)` on the three limits: one limit per client, in bounded memory |
//! | `grpc` | `rejection::Grpc`: rejections as gRPC statuses with `RetryInfo` |
//! | `cache` | `CacheLayer` |
//! | `provider` | `ProviderLayer`, `RouterLayer`, `StackLayer` and `StreamErrorLayer` |
//! | `redis` | `Redis`: a server of Redis or Valkey for limits that several processes share |
//! | `redis-tls` | TLS to that server, `rediss://` |
//! | `tracing` | an event for each request that is rejected, waits, is retried or falls back |
//! | `metrics` | counters, gauges and histograms of each layer, for the recorder of your choice |
//! | `quanta` | a faster clock for limiters |
//! | `full` | all of these |
// The documentation names the feature of an item by its `cfg`.
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "provider")]
mod ai;
mod backoff;
#[cfg(feature = "cache")]
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
mod telemetry;
pub mod timeout;

#[cfg(feature = "provider")]
pub use self::ai::{
    provider, router, stack, stream_errors,
    tokens::{TokenUsage, Tokens},
};
#[cfg(feature = "provider")]
pub use self::http::{Dimension, RateLimits, Reported};
#[cfg(feature = "reqwest")]
pub use self::integrations::{
    HttpClient, HttpClientLayer, HttpRequestLayer, HttpRequestService, InvalidUrl,
};
#[cfg(feature = "reqwest-middleware")]
pub use self::integrations::{LayerError, LayerMiddleware, NextService};
#[cfg(feature = "redis")]
pub use self::limit::store::redis;
#[cfg(feature = "per-key")]
pub use self::limit::{key, per_key};
#[cfg(feature = "metrics")]
pub use self::telemetry::metrics;
pub use self::{
    circuit_breaker::circuit,
    error::{
        BoxError, CircuitOpen, ClassifierFn, Classify, ErrorClassifier, HttpClassifier, LimitKind,
        Outcome, Reason, Rejected, TimedOut,
    },
    http::{Hint, IntoHttp, RequestHead, ResponseHead, TryClone},
    limit::{
        Clock, InvalidQuota, LimiterUsage, Prioritize, Priority, Quota, UniformPriority,
        concurrency, cost, rejection, sliding_window, token_bucket,
    },
};

// Each item is documented once: these in their modules.
#[cfg(feature = "provider")]
#[doc(no_inline)]
pub use self::ai::{
    router::{Router, RouterLayer},
    stack::StackLayer,
    stream_errors::{StreamErrorLayer, StreamErrorService},
};
#[cfg(feature = "cache")]
#[doc(no_inline)]
pub use self::cache::{Cache, CacheLayer};
#[cfg(feature = "redis")]
#[doc(no_inline)]
pub use self::limit::store::redis::{Redis, WhenDown};
#[doc(no_inline)]
pub use self::{
    circuit_breaker::{CircuitBreaker, CircuitBreakerLayer, circuit::Circuit},
    fallback::{Fallback, FallbackLayer},
    idempotency_key::{IdempotencyKey, IdempotencyKeyLayer},
    limit::{
        Cost,
        concurrency::{Concurrency, ConcurrencyLayer, ConcurrencyLimiter},
        sliding_window::{SlidingWindow, SlidingWindowLayer, SlidingWindowLimiter},
        token_bucket::{TokenBucket, TokenBucketLayer, TokenBucketLimiter},
    },
    replay::{Replay, ReplayLayer},
    retry::{RetryAfterBackoff, RetryAfterBackoffLayer},
    timeout::{Timeout, TimeoutLayer},
};

/// Bodies of requests and responses.
pub mod body {
    pub use crate::http::{GuardedBody, PeekBody, ReplaceBody, WithBody};
}

/// The response futures of limits and clients.
pub mod future {
    #[cfg(feature = "reqwest")]
    pub use crate::integrations::HttpClientFuture;
    #[cfg(feature = "reqwest-middleware")]
    pub use crate::integrations::NextFuture;
    pub use crate::limit::engine::{ReleasePolicy, ResponseFuture};
}

/// The examples of the README.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
