//! Fallback middleware: responds from elsewhere if a service fails.
//!
//! If the primary, the service inside, fails, a backup responds: another service, such as a smaller
//! model or another provider, a fixed value, or a closure.
//!
//! # Examples
//!
//! Another model:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::convert::Infallible;
//! use http::{Request, Response, StatusCode};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{FallbackLayer, fallback::ServedBy};
//!
//! // Rejects all models but one.
//! let provider = service_fn(async |request: Request<String>| {
//!     let mut response = Response::new(format!("from {}", request.body()));
//!     if request.body() != "small" {
//!         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!     }
//!     Ok::<_, Infallible>(response)
//! });
//! let small = FallbackLayer::new(provider)
//!     .map_request(|request: Request<String>| request.map(|_| "small".into()))
//!     .named("small");
//! let mut client = ServiceBuilder::new().layer(small.clone()).service(provider);
//!
//! let response = client.ready().await?.call(Request::new("large".into())).await?;
//! assert_eq!(response.body(), "from small");
//! assert_eq!(ServedBy::of(&response).name(), Some("small"));
//! # Ok(())
//! # }
//! ```
//!
//! Several backups are several layers. The innermost is tried first, and the response of the
//! outermost is the last resort. Each layer can have a [condition](FallbackLayer::when) of its own:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::convert::Infallible;
//! # use http::{Request, Response};
//! # use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{Outcome, FallbackLayer, fallback::{Condition, ServedBy}};
//!
//! # let responds = |status: u16, kind: Option<Outcome>| {
//! #     service_fn(move |_: Request<()>| async move {
//! #         let mut response = Response::builder().status(status).body("").unwrap();
//! #         if let Some(kind) = kind { response.extensions_mut().insert(kind); }
//! #         Ok::<_, Infallible>(response)
//! #     })
//! # };
//! # let (other_provider, long_context) = (responds(503, None), responds(200, None));
//! let backups = ServiceBuilder::new()
//!     .layer(FallbackLayer::value(Response::new("try again later")).named("sorry"))
//!     .layer(
//!         FallbackLayer::new(long_context)
//!             .when(Condition::outcome([Outcome::ContextTooLong]))
//!             .named("long context"),
//!     )
//!     .layer(FallbackLayer::new(other_provider).named("other provider"));
//!
//! # let (busy, too_long) = (responds(429, None), responds(400, Some(Outcome::ContextTooLong)));
//! // The other provider is down as well.
//! let response = backups.clone().service(busy).oneshot(Request::new(())).await?;
//! assert_eq!(ServedBy::of(&response).name(), Some("sorry"));
//! let response = backups.service(too_long).oneshot(Request::new(())).await?;
//! assert_eq!(ServedBy::of(&response).name(), Some("long context"));
//! # Ok(())
//! # }
//! ```
//!
//! Each layer with a backup service clones the request once, also if the primary succeeds. With the
//! usual bodies a clone copies the headers and shares the body.
//!
//! If the service's own limit would delay a request by more than two seconds, a backup at once:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{FallbackLayer, Quota, TokenBucketLayer, fallback::Condition};
//!
//! let primary = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("primary")));
//! let backup = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("backup")));
//! let mut client = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(backup).when(Condition::rejected()))
//!     .layer(TokenBucketLayer::new(Quota::per_hour(1)).max_wait(Duration::from_secs(2)))
//!     .service(primary);
//!
//! assert_eq!(*client.ready().await?.call(Request::new(())).await?.body(), "primary");
//! assert_eq!(*client.ready().await?.call(Request::new(())).await?.body(), "backup");
//! # Ok(())
//! # }
//! ```
//!
//! # Which outcomes are failures
//!
//! By default any error, and the statuses after which a [retry](crate::retry::OutcomePolicy) sends
//! a GET again: 408, 421, 424, 425, 429, 498, 500, 502 to 504, 520 to 524, 527, 529 and 530, and a
//! 403 or 413 with `Retry-After`. See [`Condition`] for others. A failure in the middle of a
//! response's body does not count, because the client has the response by then. An error of the
//! primary's `poll_ready` is returned, because there is no request yet that a backup could respond
//! to.
//!
//! # The backup's request
//!
//! A backup service gets the request as it came to this layer, or what
//! [`map_request`](FallbackLayer::map_request) makes of it. So the request is cloned before it is
//! sent to the primary; see [`TryClone`](crate::TryClone). If it can't be cloned, for example
//! because its body is a stream, the primary's outcome is returned. Values and closures need no
//! request.
//!
//! The clone has all headers of the request, credentials included: if the backup belongs to another
//! company, replace them with `map_request`.
//!
//! A server may have acted on a request that failed. If it must not act twice, use a condition that
//! rules this out, such as [`Condition::rejected`].
//!
//! # A primary that keeps failing
//!
//! The primary is called first for each request, even if it has been down for an hour. A
//! [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) between the two rejects requests while the
//! primary fails, so that the backup responds at once. If the primary has limits, that layer goes
//! inside of them, and a second one outside of them keeps requests from waiting in their queue: see
//! [its layer ordering](crate::circuit_breaker#layer-ordering).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::atomic::{AtomicU32, Ordering}};
//! # use http::{Request, Response};
//! # use tower::{Service, ServiceExt, service_fn};
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! # let primary = service_fn(async |_: Request<()>| {
//! #     CALLS.fetch_add(1, Ordering::Relaxed);
//! #     Ok::<_, Infallible>(Response::builder().status(503).body("down").unwrap())
//! # });
//! # let backup = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("backup")));
//! use tower::ServiceBuilder;
//! use tower_throttle::{CircuitBreakerLayer, FallbackLayer};
//!
//! let mut client = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(backup))
//!     .layer(CircuitBreakerLayer::new())
//!     .service(primary);
//!
//! for _ in 0..100 {
//!     assert_eq!(*client.ready().await?.call(Request::new(())).await?.body(), "backup");
//! }
//! assert_eq!(CALLS.load(Ordering::Relaxed), 6);
//! # Ok(())
//! # }
//! ```
//!
//! # Layer ordering
//!
//! Outside of the limits and the retry of the primary, so that the backup also responds if these
//! reject a request. Limits of the backup go around the backup.
//!
//! A [`ConcurrencyLayer`](crate::ConcurrencyLayer) wraps the response's body in a
//! [`GuardedBody`](crate::body::GuardedBody), and the backup's responses must have the same type.
//! If the backup has no concurrency limit, wrap its bodies without a guard. Other layers of the
//! primary that change the body, such as a [`TimeoutLayer`](crate::TimeoutLayer), also go around
//! the backup.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::convert::Infallible;
//! # use http::{Request, Response};
//! # use tower::service_fn;
//! # let primary = service_fn(async |_: Request<()>| {
//! #     Ok::<_, Infallible>(Response::builder().status(503).body(String::new()).unwrap())
//! # });
//! # let backup = service_fn(async |_: Request<()>| {
//! #     Ok::<_, Infallible>(Response::new(String::from("backup")))
//! # });
//! use tower::{ServiceBuilder, ServiceExt};
//! use tower_throttle::{
//!     ConcurrencyLayer, FallbackLayer, Quota, RetryAfterBackoffLayer, TokenBucketLayer,
//!     body::GuardedBody,
//! };
//!
//! let backup = backup.map_response(|response| response.map(GuardedBody::from));
//! let client = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(backup))
//!     .layer(RetryAfterBackoffLayer::new().attempts(2))
//!     .layer(ConcurrencyLayer::new(10))
//!     .layer(TokenBucketLayer::new(Quota::per_second(10)))
//!     .service(primary);
//!
//! let response = client.oneshot(Request::new(())).await?;
//! assert_eq!(response.body().get_ref(), "backup");
//! # Ok(())
//! # }
//! ```
//!
//! # Performance
//!
//! A call clones the request, if the backup is a service, and counts a reference. The backup is
//! cloned and made ready only after the primary has failed, and its future is allocated then. The
//! primary's future and its failed response are dropped before the backup is called, unless a
//! closure takes the response.

pub mod backup;
mod condition;
pub mod future;
mod layer;
mod served_by;
mod service;

pub use self::{
    condition::{AnyResponse, Condition},
    layer::FallbackLayer,
    served_by::ServedBy,
    service::Fallback,
};
