//! Retry middleware: waits as long as the server asks, or else with exponential backoff.
//!
//! A server that rejects a request with status 429 or 503 can say how long to wait, in
//! `Retry-After` or a similar header. This layer waits that long and sends the request again.
//! Without such a header it waits for a random time that grows with each attempt.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response};
//! use tokio::time::Instant;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{RetryAfterBackoffLayer, retry::Attempts};
//!
//! // Responds with 429 for the first 20 seconds.
//! let start = Instant::now();
//! let server = service_fn(move |_: Request<&'static str>| async move {
//!     let mut response = Response::new(());
//!     if start.elapsed() < Duration::from_secs(20) {
//!         *response.status_mut() = http::StatusCode::TOO_MANY_REQUESTS;
//!         response.headers_mut().insert("retry-after", 20.into());
//!     }
//!     Ok::<_, Infallible>(response)
//! });
//! let mut client = ServiceBuilder::new()
//!     .layer(RetryAfterBackoffLayer::new())
//!     .service(server);
//!
//! let response = client.ready().await?.call(Request::new("hello")).await?;
//! assert_eq!(response.status(), 200);
//! let attempts = Attempts::of(&response);
//! assert_eq!(attempts.attempts(), 2);
//! assert!(attempts.total_delay() >= Duration::from_secs(20));
//! # Ok(())
//! # }
//! ```
//!
//! A client of a language model, whose requests are POST and may all be retried:
//!
//! ```
//! use std::time::Duration;
//! use tower_throttle::RetryAfterBackoffLayer;
//!
//! let layer = RetryAfterBackoffLayer::new()
//!     .retry_non_idempotent()
//!     .attempts(3)
//!     .deadline(Duration::from_secs(90));
//! # let _ = layer;
//! ```
//!
//! # What is retried
//!
//! A server may have acted on a request that failed, for example if only the response was lost.
//! GET, PUT, DELETE and the other idempotent methods can be retried anyway. POST and PATCH are
//! retried only if the server can't have acted, as after a 429 or a refused connection.
//! [`OutcomePolicy`] has the whole table.
//!
//! - [`retry_non_idempotent`](RetryAfterBackoffLayer::retry_non_idempotent) retries all methods.
//! - A [`Classify`](crate::Classify) implementation changes the outcome of a response, for example
//!   because of an error code in a header.
//! - A [`Policy`] implementation decides everything, also for responses that are not HTTP.
//! - A request with an `Idempotency-Key` header is retried like GET. The layer of
//!   [`idempotency_key`](crate::idempotency_key) sets that header.
//!
//! Broken connections are recognised by the errors of the client. The feature `hyper` reads errors
//! of hyper and hyper-util, and the feature `reqwest` errors of reqwest. Without it such errors
//! are not retried; the feature `tracing` logs a warning then, once per process.
//!
//! A request that can't be [cloned](crate::TryClone), such as one with a streamed body, is sent
//! once. [`ReplayLayer`](crate::replay::ReplayLayer) outside of this layer records the body, so
//! that the request can be retried as long as the body fits in the recording.
//!
//! # How long it waits
//!
//! 1. As long as the server asks, as [`Hint`](crate::Hint) reads it: `retry-after-ms` or another
//!    header in milliseconds, else `Retry-After`. After a 429 or 403 without them, as long as its
//!    body says, if an inner `ProviderLayer` or `StreamErrorLayer` has read it, else until the
//!    reset of a limit that is used up, as in `x-ratelimit-remaining: 0` with
//!    `x-ratelimit-reset: 42`. Never less, and at random up to a tenth more, at most one second,
//!    because the server sends the same value to all clients.
//! 2. Otherwise as [`Backoff`] says. If the server asks for less than a tenth of the first backoff,
//!    the backoff is added, and the retry takes from the budget.
//!
//! | setting | default | if it is reached |
//! | --- | --- | --- |
//! | [`attempts`](RetryAfterBackoffLayer::attempts), including the first | 5 | the last outcome is returned |
//! | [`max_backoff`](RetryAfterBackoffLayer::max_backoff), for one wait | 60 s | the server asks for more: its response is returned at once |
//! | [`deadline`](RetryAfterBackoffLayer::deadline), from the first poll | 5 min | a wait would exceed it: the outcome is returned at once |
//! | [`backoff`](RetryAfterBackoffLayer::backoff), for one wait without a hint | 0.5 s doubling to 30 s, full jitter | the wait no longer grows |
//! | [`budget`](RetryAfterBackoffLayer::budget), for retries without a hint | 20 % of the successes, and 30 a minute | the outcome is returned at once |
//!
//! A response that took more than one attempt has [`Attempts`] in its extensions, and an error has
//! them with [`attempts_in_errors`](RetryAfterBackoffLayer::attempts_in_errors). Otherwise
//! responses and errors are returned unchanged.
//!
//! # Retry budget
//!
//! If a server is down, five attempts for each request are five times its load. Therefore each
//! retry takes from a [`Budget`], to which only successes add. A retry after the wait that the
//! server asked for is free: the attempts and the deadline limit it. A retry after a timeout costs
//! [twice as much](Budget::price), because the server may still be working on the first attempt.
//!
//! A layer for many hosts should have [a budget per host](RetryAfterBackoffLayer::budget_by_host).
//! Layers for one provider should [share a budget](BudgetRegistry::named).
//!
//! # Layer ordering
//!
//! Outside of the limits, so that each attempt takes from the quota:
//!
//! ```text
//! ServiceBuilder::new()
//!     .layer(RetryAfterBackoffLayer::new())                    // 500 attempts a minute
//!     .layer(TokenBucketLayer::new(Quota::per_minute(500)))
//!
//! ServiceBuilder::new()
//!     .layer(TokenBucketLayer::new(Quota::per_minute(500)))    // 500 requests a minute,
//!     .layer(RetryAfterBackoffLayer::new())                    // up to 2,500 attempts
//! ```
//!
//! - A [`Rejected`](crate::Rejected) of an inner limit is not retried: the limit has already waited
//!   as long as it may.
//! - A [`CircuitOpen`](crate::CircuitOpen) is not retried: a fallback outside of this layer
//!   responds at once. Without a fallback, use
//!   [`wait_for_circuit`](RetryAfterBackoffLayer::wait_for_circuit).
//! - An inner [`Concurrency`](crate::Concurrency) limit gets its permit back before the wait, like
//!   any layer that releases what it holds when its response is dropped.
//! - A fallback goes outside: it responds if all attempts have failed.
//! - The client inside should neither retry nor follow redirects, as reqwest's does by default: see
//!   [the guide](crate::guide::layer_order#the-client-sends-one-request-for-each-call).
//!
//! On an axum `Router` this layer and a fallback need axum's `HandleErrorLayer` outside of them,
//! because their error is a [`BoxError`](crate::BoxError). They are meant for clients. Limits with
//! `.respond()` do not need it.
//!
//! # What is shared
//!
//! All services that a layer makes, and their clones, share its budget or its budgets per host.
//!
//! # Performance
//!
//! Each request is cloned before it is sent: the headers, the extensions, and the body, which is
//! cheap if it is reference-counted like `Bytes`. The inner service is cloned as well. Otherwise a
//! successful request takes no lock and allocates nothing, except for a read lock with one budget
//! per host. A wait allocates a timer.
//!
//! # Cancel safety
//!
//! The response future may be dropped at any point. The cost of a retry that was not made is
//! returned to the budget's savings; the reserve refills with time.

mod attempts;
mod budget;
mod budgets;
pub mod future;
mod layer;
mod policy;
mod service;
mod settings;

pub use self::{
    attempts::Attempts,
    budget::Budget,
    budgets::BudgetRegistry,
    layer::RetryAfterBackoffLayer,
    policy::{OutcomePolicy, Policy, PolicyFn, RetryAction, policy_fn},
    service::RetryAfterBackoff,
};
#[doc(inline)]
pub use crate::backoff::{Backoff, Jitter};
