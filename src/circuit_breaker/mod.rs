//! Leave a service alone that fails.
//!
//! One that is down, or overloaded, gains nothing from being asked all the time, and neither does who waits for its
//! answers. After too many failures this layer calls it no more: each request fails at once with a
//! [`CircuitOpen`](crate::CircuitOpen), which a [`Fallback`](crate::Fallback) further out answers. When the service's own
//! `Retry-After`, or else a growing cooldown, is over, one request at a time finds out whether all is well again.
//! [`circuit`](crate::circuit) has the rules.
//!
//! # Example
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
//!     Ok::<_, Infallible>(Response::builder().status(503).header("retry-after", "30").body(()).unwrap())
//! });
//! let layer = CircuitBreakerLayer::from(Circuit::new().failures(3));
//! let circuit = layer.circuit();
//! let mut client = ServiceBuilder::new().layer(layer).service(down);
//!
//! for _ in 0..3 {
//!     assert_eq!(client.ready().await?.call(Request::new(())).await?.status(), 503);
//! }
//! let error = client.ready().await?.call(Request::new(())).await.unwrap_err();
//! let open = error.downcast_ref::<CircuitOpen>().unwrap();
//! assert!(open.retry_after() >= Some(Duration::from_secs(30)));
//! assert!(circuit.is_open());
//! # Ok(())
//! # }
//! ```
//!
//! # What counts as a failure
//!
//! The [outcomes](crate::Outcome) `NotSent`, `Interrupted`, `RateLimited`, `Overloaded`, `Timeout` and
//! `ServerError`; [`failure_outcomes`](CircuitBreakerLayer::failure_outcomes) sets others, and
//! [`classify`](CircuitBreakerLayer::classify) what returns them. Any other response is a success: a 400
//! comes from a service that works. Any other error counts neither way, nor does a rejection by a limiter
//! further in, nor a call that was cancelled. The head of a response decides: a body that breaks off later
//! does not count.
//!
//! # Which order
//!
//! Next to the client, inside of a retry and of the limits, so that each attempt counts, and a refusal by your own limits is
//! none of the service's. A timeout of each attempt goes further in still, so that it counts as well. From the outside in:
//! fallback, retry, limits, circuit breaker, timeout, client. A retry does not repeat a `CircuitOpen`, and a
//! `ProviderLayer` gives back what it had counted for it. A request whose attempt has failed waits as the retry says before it
//! learns that the circuit is open by now; the retry's `max_wait` bounds that. Without a fallback
//! [`wait_for_circuit`](crate::RetryAfterBackoffLayer::wait_for_circuit) lets it wait on, until the service may be asked again.
//!
//! A request waits in the queues of the limits before it gets here.
//! [`FallbackLayer::remember`](crate::FallbackLayer::remember) spares it that: it looks at the circuit before the request joins them.
//!
//! # What is shared
//!
//! The circuit: by every service that the layer makes, by all of their clones, and by every layer made
//! [from](CircuitBreakerLayer#impl-From<Circuit>-for-CircuitBreakerLayer) the same one. Give services of their own that fail
//! apart from each other, such as two hosts or two models, a circuit each.
//!
//! # What it costs
//!
//! While the service is healthy a call counts a reference, and an answer reads the clock and adds to an atomic number. No lock
//! is taken, and nothing is allocated. The inner service has to be [`Clone`], as nothing that was polled ready is held by a request
//! that is turned away.
//!
//! # Cancellation
//!
//! The response future may be dropped at any point, which says nothing of the service.

mod failures;
pub mod future;
mod layer;
mod service;

#[cfg(feature = "provider")]
pub(crate) use self::failures::{FAILURES, Failures};
pub use self::{layer::CircuitBreakerLayer, service::CircuitBreaker};
