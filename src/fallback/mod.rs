//! Answer from elsewhere where a service fails.
//!
//! Where the primary, the service inside, fails, something else answers: another service, such as a smaller model or
//! another provider, a fixed value, or a closure. Where that fails, too, the next one does, and what the last one says
//! is what the caller gets.
//!
//! # Which failures
//!
//! Unless told: any error, and the statuses 429, 500, 502, 503, 504 and 529. See [`when`] for conditions of your own, and
//! [`only`](FallbackLayer::only) for a fallback that is for one class of errors alone.
//! A failure in the middle of a response's body is none: the caller has the response by then. An error of the primary's
//! `poll_ready` is returned, as there is no request to answer yet.
//!
//! # What a fallback sees
//!
//! The request as it came to this layer, or what [`map_request`](FallbackLayer::map_request) makes of it. So a request
//! is cloned before it is given away; see [`TryClone`](crate::TryClone). One that can't be cloned, as one whose body is
//! streamed, is not sent to a second service: values and closures can still answer, and if there are none, the
//! primary's outcome passes unchanged. The clone has all of the request's headers, credentials among them: where the
//! backup is somebody else's, map them.
//!
//! A request that failed may have been acted upon: what must not happen twice needs a condition that says that it did
//! not, such as [`when::rejected`].
//!
//! # A primary that keeps failing
//!
//! Each request asks the primary first, also where it has been down for an hour, and waits for it to fail. A
//! [`CircuitBreakerLayer`](crate::CircuitBreakerLayer) around the primary's client knows better. While its circuit is open it
//! fails at once, and the fallback answers; now and then it lets one request through to find out whether the
//! primary is well again:
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
//! Where the primary has limits, a request waits in their queue before it gets to the breaker.
//! [`remember`](FallbackLayer::remember) looks at the breaker's circuit first, and then the request waits for nothing:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::convert::Infallible;
//! # use http::{Request, Response};
//! # use tower::{Service, ServiceExt, service_fn};
//! # use tower_throttle::{Quota, TokenBucketLayer, RetryAfterBackoffLayer, fallback::AnsweredBy};
//! # let primary = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("primary")));
//! # let backup = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("backup")));
//! use tower::ServiceBuilder;
//! use tower_throttle::{Circuit, CircuitBreakerLayer, FallbackLayer};
//!
//! let circuit = Circuit::new();
//! let mut client = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(backup).remember(circuit.clone())) // looks
//!     .layer(RetryAfterBackoffLayer::new())
//!     .layer(TokenBucketLayer::new(Quota::per_minute(60)))
//!     .layer(CircuitBreakerLayer::from(circuit.clone())) // judges
//!     .service(primary);
//!
//! # for _ in 0..6 { circuit.enter()?.failed(None); }
//! # let start = tokio::time::Instant::now();
//! // Once it is open:
//! let response = client.ready().await?.call(Request::new(())).await?;
//! assert_eq!(*response.body(), "backup");
//! assert!(AnsweredBy::of(&response).is_primary_left_alone());
//! # assert!(start.elapsed().is_zero());
//! # Ok(())
//! # }
//! ```
//!
//! # What it costs
//!
//! A request clones itself, where a service may have to answer it, and counts a reference. The rest is allocated
//! only once the primary has failed. To [remember](FallbackLayer::remember) is to read an atomic number while the circuit is
//! closed, and takes a lock while it is not. A backup is cloned and readied then; nothing of it is held before. The primary's
//! future and its failed response are dropped before the backup is called, unless a closure takes the response.
//!
//! # Who answered
//!
//! [`AnsweredBy::of`] tells it from the response.
//!
//! # What is shared
//!
//! Nothing but the backup, of which each use is a clone, and the circuit that it may have been told to remember.
//!
//! # Which order
//!
//! Outside of the limits of the primary, so that their refusals are fallen back from, too. Limits of the backup go
//! around the backup.
//!
//! # Examples
//!
//! Another model, and in the end an apology:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::convert::Infallible;
//! use http::{Request, Response, StatusCode};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{FallbackLayer, fallback::AnsweredBy};
//!
//! // Says no to all but one model.
//! let provider = service_fn(async |request: Request<String>| {
//!     let mut response = Response::new(format!("an answer of {}", request.body()));
//!     if request.body() != "small" {
//!         *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
//!     }
//!     Ok::<_, Infallible>(response)
//! });
//! let mut client = ServiceBuilder::new()
//!     .layer(
//!         FallbackLayer::new(provider)
//!             .map_request(|request: Request<String>| request.map(|_| "small".into()))
//!             .named("small")
//!             .or_value(Response::new("sorry".to_owned())),
//!     )
//!     .service(provider);
//!
//! let response = client.ready().await?.call(Request::new("large".into())).await?;
//! assert_eq!(response.body(), "an answer of small");
//! assert_eq!(AnsweredBy::of(&response).name(), Some("small"));
//! # Ok(())
//! # }
//! ```
//!
//! Elsewhere where our own limit would make a request wait for more than two seconds, and at once then. A refusal by a limit
//! opens no circuit, as it says nothing of the primary:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{FallbackLayer, Quota, TokenBucketLayer, fallback::when};
//!
//! let at_home = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("home")));
//! let abroad = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new("abroad")));
//! let mut client = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(abroad).when(when::rejected()))
//!     .layer(TokenBucketLayer::new(Quota::per_hour(1)).max_wait(Duration::from_secs(2)))
//!     .service(at_home);
//!
//! assert_eq!(*client.ready().await?.call(Request::new(())).await?.body(), "home");
//! assert_eq!(*client.ready().await?.call(Request::new(())).await?.body(), "abroad");
//! # Ok(())
//! # }
//! ```

mod answered_by;
pub mod backup;
mod chain;
mod falling;
pub mod future;
mod layer;
mod rule;
mod service;
pub mod when;

pub use self::{
    answered_by::AnsweredBy,
    layer::FallbackLayer,
    rule::{Forgets, Judge, Memory, Remembers, Rule, Tell, Told, Untold},
    service::Fallback,
};
