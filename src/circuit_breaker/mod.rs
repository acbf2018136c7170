//! Circuit breaker middleware.
//!
//! After too many failures this layer rejects requests with [`CircuitOpen`](crate::CircuitOpen) and
//! does not call the service, until the service's own `Retry-After` or a growing cooldown is over.
//! Then one request at a time is admitted as a probe: if it succeeds, the circuit closes.
//! [`circuit`] has the rules.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{Circuit, CircuitBreakerLayer, CircuitOpen};
//!
//! let down = service_fn(async |_: Request<()>| {
//!     let response = Response::builder().status(503).header("retry-after", "30");
//!     Ok::<_, Infallible>(response.body(()).unwrap())
//! });
//! let layer = CircuitBreakerLayer::from(Circuit::new().failures(3));
//! let circuit = layer.circuit();
//! let mut client = ServiceBuilder::new().layer(layer).service(down);
//!
//! for _ in 0..3 {
//!     assert_eq!(client.ready().await?.call(Request::new(())).await?.status(), 503);
//! }
//! let error = client.ready().await?.call(Request::new(())).await.unwrap_err();
//! let open = CircuitOpen::of(&error).unwrap();
//! assert!(open.retry_after() >= Some(Duration::from_secs(30)));
//! assert!(circuit.is_open());
//! # Ok(())
//! # }
//! ```
//!
//! # What counts as a failure
//!
//! The [outcomes](crate::Outcome) `NotSent`, `Interrupted`, `RateLimited`, `Overloaded`, `Timeout`
//! and `ServerError`; [`failure_outcomes`](CircuitBreakerLayer::failure_outcomes) sets others, and
//! [`classify`](CircuitBreakerLayer::classify) what returns them. Any other response is a success:
//! a 400 comes from a service that works. Any other error counts neither way, nor does a rejection
//! by a limiter further in, nor a call that was cancelled. The head of a response decides: a body
//! that breaks off later does not count. An event stream that ends in an error counts as that error
//! as well, if a `ProviderLayer` inside or outside of this layer reads it.
//!
//! # Layer ordering
//!
//! The layer goes next to the client, inside of a retry and of the limits. There it counts each
//! attempt, and no rejection by your own limits. A timeout of each attempt goes further in still,
//! so that it counts.
//!
//! A request waits in the queue of the limits before it gets there. So that it does not wait for a
//! service that fails, a second layer with the same circuit goes outside of the limits, with
//! [`check_only`](CircuitBreakerLayer::check_only):
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::convert::Infallible;
//! # use http::{Request, Response};
//! # use tower::{Service, ServiceExt, service_fn};
//! # let primary =
//! #     service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("primary")));
//! # let backup =
//! #     service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("backup")));
//! use tower::ServiceBuilder;
//! use tower_throttle::{
//!     Circuit, CircuitBreakerLayer, FallbackLayer, Quota, RetryAfterBackoffLayer,
//!     TokenBucketLayer,
//! };
//!
//! let circuit = Circuit::new();
//! let mut client = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(backup))
//!     .layer(CircuitBreakerLayer::from(circuit.clone()).check_only()) // rejects before the queue
//!     .layer(RetryAfterBackoffLayer::new())
//!     .layer(TokenBucketLayer::new(Quota::per_minute(60)))
//!     .layer(CircuitBreakerLayer::from(circuit.clone())) // counts, and admits the probe
//!     .service(primary);
//!
//! # for _ in 0..6 { circuit.enter()?.failed(None); }
//! # let start = tokio::time::Instant::now();
//! // While the circuit is open:
//! let response = client.ready().await?.call(Request::new(())).await?;
//! assert_eq!(*response.body(), "backup");
//! # assert!(start.elapsed().is_zero());
//! # Ok(())
//! # }
//! ```
//!
//! The outer layer rejects while the circuit is open and while a probe is under way. Between the
//! end of the cooldown and the start of the probe it lets requests through; the inner layer admits
//! one of them and rejects the others.
//!
//! A retry does not repeat a `CircuitOpen`, and a `ProviderLayer` returns what it had reserved for
//! it. A request whose attempt failed waits as the retry says before it gets a `CircuitOpen`; the
//! retry's `max_backoff` bounds that. Without a fallback,
//! [`wait_for_circuit`](crate::RetryAfterBackoffLayer::wait_for_circuit) makes the retry wait until
//! the circuit admits a probe. Such a retry needs no `check_only` layer outside of it.
//!
//! # What is shared
//!
//! The circuit, between all services that the layer makes, all of their clones, and all layers made
//! [from](CircuitBreakerLayer#impl-From<Circuit>-for-CircuitBreakerLayer) the same circuit.
//! Services that fail independently, such as two hosts or two models, need a circuit each.
//!
//! # Performance
//!
//! While the circuit is closed, a call counts a reference, and a response reads the clock and adds
//! to an atomic number; `check_only` reads one atomic number. No lock is taken, and nothing is
//! allocated. The inner service has to be [`Clone`], so that a rejected request does not keep the
//! instance that was polled ready.
//!
//! # Cancel safety
//!
//! The response future may be dropped at any point, which does not count as an outcome.

pub mod circuit;
mod failures;
pub mod future;
#[cfg(feature = "provider")]
mod late_failures;
mod service;

pub use self::service::{CircuitBreaker, CircuitBreakerLayer};
#[cfg(feature = "provider")]
pub(crate) use self::{
    failures::{FAILURES, Failures},
    late_failures::LateFailures,
};
