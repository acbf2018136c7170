//! Limit how many requests are in flight.
//!
//! A request holds a [`Permit`] from its call to the last frame of its response's body, or to the drop of either: an
//! answer that is streamed for a minute is in flight for a minute. Where there is no permit it waits in line.
//!
//! # What it costs
//!
//! A request that is admitted at once takes no lock and allocates nothing; giving its slot back takes the lock of a tokio
//! semaphore for a moment. One that waits allocates its place in the queue. One timer runs for the queue of each priority, and none where
//! nothing limits the waiting. An adaptive limit reads the clock up to six times for each request (with [`Latency::End`] twice more for each
//! frame), and takes a lock of its own once, for some sums: a few hundred nanoseconds.
//!
//! # What it promises
//!
//! Those who wait are served in the order in which they came, within their [priority](#priorities). A dropped request gives its place, or its permit, to the
//! next. The limit can be [changed](ConcurrencyLimiter::set_limit) at any time.
//!
//! # What is shared
//!
//! A layer has one limiter. Each service that it makes and each clone of those share it, and so does every layer made
//! [from](ConcurrencyLayer#impl-From<ConcurrencyLimiter>-for-ConcurrencyLayer) the same [`ConcurrencyLimiter`].
//!
//! # Limits that find themselves
//!
//! The right limit is rarely known, and is another one when a server has lost half of its machines. [`Adaptive`] finds it from what
//! requests take. As long as there is no queue on the other side, more in flight means more answers; from there on it only means
//! slower ones. In front of a server it sheds what would wait there, before latency doubles; in front of a client it keeps this process
//! from being the one that overloads the other side.
//!
//! [`Adaptive::gradient`] compares the latency with what it is without a queue, which it learns and keeps learning: where less load
//! makes the answers no faster, it is the other side that has become slower, and the limit comes back. [`Adaptive::aimd`] knows no more than
//! a latency that is not to be exceeded.
//!
//! What it learns from:
//!
//! - **Latency**, from the call of the inner service, after the time in the queue, to the [first byte](Latency) of the body. An answer
//!   that is streamed for a minute is no slower for that, and where an AI provider sends its headers at once, the first byte still
//!   says when the work has begun. Its permit is held to the end of the body all the same. The time in which nobody asks for more
//!   of the body, since its reader does something else, is not counted.
//! - **Refusals**: a response with 429, 503, 529, 408 or 504, a gRPC call that ends in `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED` or
//!   `UNAVAILABLE` without an answer, a timeout, and a connection that can't be made or breaks, lower the limit to nine tenths, at most
//!   once in a round trip. Where as large a part is refused of two thirds or less, as by one broken machine of ten, it was not the load: the
//!   limit goes back, heeds only what is clearly more than that, and tries again after some thousands of requests. With more than a quarter
//!   refused it was, whatever it was: the limit goes down.
//!
//!   Other failures, those with any other 4xx among them, say nothing; they are often fast. Nor do refusals by a layer of this crate
//!   further in, as errors or as responses that hold a [`Rejected`](crate::Rejected). What an error is can be seen where it is a
//!   [`BoxError`](crate::BoxError): with [`respond`](ConcurrencyLayer::respond) an inner error says nothing.
//! - **Drops**: a request that is dropped before its first byte counts as an answer if that took twice as long as usual already, and says nothing
//!   otherwise. So neither callers that run out of patience nor those that change their minds deceive it.
//!
//! It moves once in a round trip or slower, never in the time of a single request, and does not rise while less than three quarters of it
//! are used. With times that are all alike it is within some thirty round trips where it has to be; the more they differ, the more
//! answers it takes. It needs ten for a step, so it suits tens of answers a second better than one a minute.
//!
//! When not to use it: where the other side says its limit (that is a fixed one, or a `ProviderLayer`); where hardly anything is in flight
//! at once; where most answers come out of a cache; and where the latency has nothing to do with what is in flight. Limits of
//! several processes in front of one backend see each other's load as the backend's, and share it by chance. Where that backend refuses
//! what is too much, each of them makes too little difference to tell that from a broken machine: together they may go on asking for about
//! twice as much as it takes. Latency holds them back as ever.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response, StatusCode};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{ConcurrencyLayer, concurrency::Adaptive};
//!
//! let layer = ConcurrencyLayer::adaptive(Adaptive::gradient().initial(50)).max_waiting(100);
//! let limiter = layer.limiter().clone();
//! let mut client = ServiceBuilder::new().layer(layer).service(service_fn(async |_: Request<()>| {
//!     tokio::time::sleep(Duration::from_millis(20)).await;
//!     let mut response = Response::new(String::new());
//!     *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
//!     Ok::<_, Infallible>(response)
//! }));
//!
//! assert_eq!(limiter.limit(), 50);
//! client.ready().await?.call(Request::new(())).await?;
//! assert_eq!(limiter.limit(), 45);
//! # Ok(())
//! # }
//! ```
//!
//! # Priorities
//!
//! With [`priority`](ConcurrencyLayer::priority), fixed limits and adaptive ones shed the less important first: see [`Priority`] for the
//! shares. Each priority waits in a line of its own, and one with a lower priority does not start while one with a higher waits. It may
//! wait for ever, unless [`max_wait`](ConcurrencyLayer::max_wait) bounds it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! use std::convert::Infallible;
//! use http::{Request, Response, StatusCode};
//! use tower::{Layer, Service, ServiceExt, service_fn};
//! use tower_throttle::{ConcurrencyLayer, ConcurrencyLimiter, concurrency::Priority};
//!
//! let limiter = ConcurrencyLimiter::new(1);
//! let mut server = ConcurrencyLayer::from(limiter.clone())
//!     .respond()
//!     .priority(|request: &Request<()>| match request.uri().path() {
//!         "/health" => Priority::Critical,
//!         "/report" => Priority::Low,
//!         _ => Priority::Normal,
//!     })
//!     .layer(service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new()))));
//!
//! let _busy = limiter.try_acquire();
//! for (path, status) in [("/", StatusCode::SERVICE_UNAVAILABLE), ("/health", StatusCode::OK)] {
//!     let mut request = Request::new(());
//!     *request.uri_mut() = path.parse().unwrap();
//!     assert_eq!(server.ready().await?.call(request).await?.status(), status);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Responses
//!
//! `http::Response<B>` becomes `http::Response<Guarded<B, Reading>>`, whose body is a body like the one inside. With the
//! feature `reqwest`, `reqwest::Response` stays `reqwest::Response`. For all else there is
//! [`until_response`](ConcurrencyLayer::until_response), and for HTTP responses whose bodies are not to count
//! [`until_headers`](ConcurrencyLayer::until_headers).
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
mod gate;
mod hold;
mod layer;
mod limiter;
#[cfg(all(test, throttle_loom))]
mod loom_tests;
mod permit;
mod priority;
mod reading;
mod service;
mod slots;

pub use self::{
    adaptive::{Adaptive, Latency},
    hold::UntilHeaders,
    layer::ConcurrencyLayer,
    limiter::ConcurrencyLimiter,
    permit::Permit,
    priority::{AllAlike, Prioritize, Priority},
    reading::Reading,
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
