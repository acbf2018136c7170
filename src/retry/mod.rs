//! Repeat requests that failed for a while only, when the server says so, or else after a growing wait.
//!
//! A server that is asked too often answers 429 and, if it is kind, says how long to stay away. This layer stays away that
//! long and tries again. Where nothing is said it waits for a time that grows with each attempt and is drawn by chance.
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
//! // Answers 429 for the first 20 seconds.
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
//! A client of a language model, whose requests are POST and may all be repeated:
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
//! # When a repetition is safe
//!
//! A request that failed may have been acted on all the same: the answer was lost, not the request. GET, PUT, DELETE and
//! the like can be repeated regardless. POST and PATCH are repeated only where the server cannot have acted, as with a
//! 429, or a connection that was refused. [`OutcomePolicy`] has the whole table. It also
//! [retries non-idempotent methods](RetryAfterBackoffLayer::retry_non_idempotent) if acting twice does no
//! harm. A [`Classify`](crate::Classify) of your own changes what an outcome is, as for an error code in a
//! header; a [`Policy`] of your own decides about everything, as for responses that are not HTTP.
//!
//! An unsafe request with an `Idempotency-Key` counts as a safe one, and the layer of
//! [`idempotency_key`](crate::idempotency_key) gives it one.
//!
//! A request that can't be [cloned](crate::TryClone), such as one with a streamed body, is sent once, and the caller gets
//! whatever comes of it. [`ReplayLayer`](crate::replay::ReplayLayer), outside of this one, makes it one that can be: until more
//! was sent than may be recorded, which is asked before each further attempt.
//!
//! # How long it waits
//!
//! 1. As long as the server asks, read by [`Hint`](crate::Hint): `retry-after-ms` or another header in milliseconds, else
//!    `Retry-After`. Never less, and by chance up to a tenth more, at most 1 s more: the server tells everybody the same.
//! 2. Else as [`Backoff`] says. So too where the server asks for next to no wait, less than a tenth of the first backoff.
//!
//! | bound | default | when it is reached |
//! | --- | --- | --- |
//! | [`attempts`](RetryAfterBackoffLayer::attempts), the first included | 5 | the caller gets the last outcome |
//! | [`max_backoff`](RetryAfterBackoffLayer::max_backoff), for one wait | 60 s | the server asks for more: the caller gets the response at once |
//! | [`deadline`](RetryAfterBackoffLayer::deadline), from the first call | 5 min | a wait would pass it: the caller gets the outcome at once |
//! | [`backoff`](RetryAfterBackoffLayer::backoff), for one wait without a hint | 0.5 s doubling to 30 s, full jitter | the wait no longer grows |
//! | [`budget`](RetryAfterBackoffLayer::budget), for retries without a hint | 20 % of the successes, and 1 a second | the caller gets the outcome at once |
//!
//! Responses and errors that are handed on are untouched, but for [`Attempts`] in the extensions of a response that took
//! more than one.
//!
//! # The budget
//!
//! When a server is down, every request of every client fails, and with five attempts each its load is five times what
//! brought it down. So retries are paid for from a [`Budget`], into which only successes pay. A retry that waits out the
//! server's own hint is free: it was invited, and attempts and deadline bound it. So the budget never fails a request
//! that the server would have let through at the time it named. One after a timeout costs [twice as much](Budget::price), for
//! what timed out may still be worked on.
//!
//! A layer for many hosts should have [a budget for each](RetryAfterBackoffLayer::budget_by_host), and layers for one provider
//! one [in common](BudgetRegistry::named).
//!
//! # Order of layers
//!
//! Outside of the limiters, so that each attempt takes from the quota:
//!
//! ```text
//! ServiceBuilder::new()
//!     .layer(RetryAfterBackoffLayer::new())                       500 attempts a minute reach the server
//!     .layer(TokenBucketLayer::new(Quota::per_minute(500)))
//!
//! ServiceBuilder::new()
//!     .layer(TokenBucketLayer::new(Quota::per_minute(500)))       500 requests a minute do, and 5 attempts of each:
//!     .layer(RetryAfterBackoffLayer::new())                       2,500
//! ```
//!
//! A [`Rejected`](crate::Rejected) of a limiter inside is never repeated: the limiter has waited as long as it may. Nor is a
//! [`CircuitOpen`](crate::CircuitOpen): the service is to be left alone, and a fallback further out answers at once. Without one
//! [`wait_for_circuit`](RetryAfterBackoffLayer::wait_for_circuit) waits until it may be asked again. A
//! [`Concurrency`](crate::Concurrency) limit inside gives its permit back before the wait, and so does any other layer
//! that frees what it holds when its response is dropped. A fallback goes outside: it answers when the attempts are used
//! up.
//!
//! On an axum `Router` this layer and a fallback need axum's `HandleErrorLayer` outside of them, because their error is a
//! [`BoxError`](crate::BoxError): they belong around a client. The limiters don't, with `.respond()`.
//!
//! # What is shared
//!
//! A layer has one budget, or one for each host. Each service that it makes and each clone of those share it.
//!
//! # What it costs
//!
//! Every request is cloned before it is sent, because nobody knows yet whether it will be needed again: for an
//! `http::Request` that is its headers and extensions, and its body if that is not reference-counted as `Bytes` is. So is
//! the inner service. Beyond these clones a request that succeeds takes no lock and allocates nothing, but for a read lock where each
//! host has its budget. A wait allocates its timer.
//!
//! # Cancellation
//!
//! A response future can be dropped at any point. What was taken out of the budget's savings for a retry that was not
//! made goes back; what was taken from its reserve comes back by itself.

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
