//! Limit how many requests are in flight.
//!
//! A request holds a [`Permit`] from its call to the last frame of its response's body, or to the drop of either: an
//! answer that is streamed for a minute is in flight for a minute. Where there is no permit it waits in line.
//!
//! # What it costs
//!
//! A request that is admitted at once takes no lock and allocates nothing; giving its slot back takes the lock of a tokio
//! semaphore for a moment. One that waits allocates its place in the queue. One timer runs for the whole queue, and none where nothing limits the waiting.
//!
//! # What it promises
//!
//! Those who wait are served in the order in which they came. A dropped request gives its place, or its permit, to the
//! next. The limit can be [changed](ConcurrencyLimiter::set_limit) at any time.
//!
//! # What is shared
//!
//! A layer has one limiter. Each service that it makes and each clone of those share it, and so does every layer made
//! [from](ConcurrencyLayer#impl-From<ConcurrencyLimiter>-for-ConcurrencyLayer) the same [`ConcurrencyLimiter`].
//!
//! # Responses
//!
//! `http::Response<B>` becomes `http::Response<Guarded<B, Permit>>`, whose body is a body like the one inside. With the
//! feature `reqwest`, `reqwest::Response` stays `reqwest::Response`. For all else there is
//! [`until_response`](ConcurrencyLayer::until_response).
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use http_body_util::{BodyExt, Full};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{ConcurrencyLayer, ConcurrencyLimiter};
//!
//! let limiter = ConcurrencyLimiter::new(8);
//! let mut client = ServiceBuilder::new()
//!     .layer(ConcurrencyLayer::from(limiter.clone()))
//!     .service(service_fn(async |_: Request<()>| {
//!         Ok::<_, Infallible>(Response::new(Full::<&[u8]>::from("an answer".as_bytes())))
//!     }));
//!
//! let response = client.ready().await?.call(Request::new(())).await?;
//! assert_eq!(limiter.in_flight(), 1);
//! let body = response.into_body().collect().await?;
//! assert_eq!(limiter.in_flight(), 0);
//! # let _ = body;
//! # Ok(())
//! # }
//! ```
//!
//! A service whose answers have no body:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::convert::Infallible;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::ConcurrencyLayer;
//!
//! let mut client = ServiceBuilder::new()
//!     .layer(ConcurrencyLayer::new(8).until_response())
//!     .service(service_fn(async |n: u32| Ok::<_, Infallible>(n + 1)));
//!
//! assert_eq!(client.ready().await?.call(1).await?, 2);
//! # Ok(())
//! # }
//! ```

mod adaptive;
mod hold;
mod layer;
mod limiter;
mod permit;
mod priority;
mod queue;
mod service;
mod slots;

pub use self::{
    adaptive::{Adaptive, Latency},
    layer::ConcurrencyLayer,
    limiter::ConcurrencyLimiter,
    permit::Permit,
    priority::{AllAlike, Prioritize, Priority},
    service::Concurrency,
};
#[doc(no_inline)]
pub use crate::limit::{UntilBodyEnd, UntilResponse};

/// The response future.
pub mod future {
    use std::sync::Arc;

    use super::{hold::Held, slots::Slots};
    use crate::{limit::UntilBodyEnd, refusal::Fail};

    /// The response future of a [`Concurrency`](super::Concurrency). See
    /// [`ResponseFuture`](crate::future::ResponseFuture).
    pub type ResponseFuture<S, Request, F = Fail, H = UntilBodyEnd> =
        crate::future::ResponseFuture<S, Request, Arc<Slots>, F, Held<H>>;
}
