//! Answer from elsewhere where a service fails.
//!
//! Where the primary, the service inside, fails, something else answers: another service, such as a smaller model or
//! another provider, a fixed value, or a closure. Where that fails, too, the next one does, and what the last one says
//! is what the caller gets.
//!
//! # Which failures
//!
//! Unless told: any error, and the statuses 429, 500, 502, 503, 504 and 529. See [`when`] for conditions of your own.
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
//! # What it costs
//!
//! A request clones itself, where a service may have to answer it, and counts a reference. The rest is allocated
//! only once the primary has failed. A backup is cloned and readied then; nothing of it is held before. The primary's
//! future and its failed response are dropped before the backup is called, unless a closure takes the response.
//!
//! # Who answered
//!
//! [`AnsweredBy::of`] tells it from the response.
//!
//! # What is shared
//!
//! Nothing but the backup, of which each use is a clone.
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
//! Elsewhere only where our own limit says no, instead of waiting for it:
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
//!     .layer(TokenBucketLayer::new(Quota::per_hour(1)).max_wait(Duration::ZERO))
//!     .service(at_home);
//!
//! assert_eq!(*client.ready().await?.call(Request::new(())).await?.body(), "home");
//! assert_eq!(*client.ready().await?.call(Request::new(())).await?.body(), "abroad");
//! # Ok(())
//! # }
//! ```

mod answered_by;
pub mod backup;
pub mod future;
mod layer;
mod rule;
mod service;
pub mod when;

pub use self::{
    answered_by::AnsweredBy,
    layer::FallbackLayer,
    rule::{Judge, Rule, Tell, Told, Untold},
    service::Fallback,
};
