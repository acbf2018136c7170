//! Concurrency limit middleware: limits the number of requests in flight.
//!
//! A request holds a [`Permit`] from its call to the end of its response's body, or until either is
//! dropped: a response that is streamed for a minute is in flight for a minute. If no permit is
//! free, the request waits in a queue.
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
//!         Ok::<_, Infallible>(Response::new(Full::<&[u8]>::from("a response".as_bytes())))
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
//! A service whose responses have no body:
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
//!
//! # Queue
//!
//! Requests wait in first-come, first-served order, within their [priority](#priorities). If a
//! request is dropped, its place or its permit passes to the next one. The limit can be
//! [changed](ConcurrencyLimiter::set_limit) at any time.
//!
//! # Adaptive limits
//!
//! The right limit is rarely known, and it changes, for example if a server loses half of its
//! machines. [`Adaptive`] computes it from the latency. As long as the service has no queue, more
//! requests in flight mean more responses; above that they only mean slower ones. In front of a
//! server, an adaptive limit rejects requests that would only wait there; in a client, it keeps
//! this process from overloading the server.
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
//! for _ in 0..10 {
//!     client.ready().await?.call(Request::new(())).await?;
//! }
//! assert_eq!(limiter.limit(), 45);
//! # Ok(())
//! # }
//! ```
//!
//! [`Adaptive::gradient`] compares the latency with the latency without a queue, as Envoy's
//! gradient controller does. It measures that baseline by lowering the limit at intervals, for as
//! long as this makes responses faster. If a lower limit makes them no faster, the service has
//! become slower, and the limit returns. [`Adaptive::aimd`] only has a maximum latency.
//!
//! An adaptive limit depends on:
//!
//! - **Latency**, from the call of the inner service to the [first byte](Latency) of the body,
//!   without the time in the queue and the time in which the body is not polled.
//! - **Rejections**: a response with 429, 503, 529, 408 or 504, a gRPC call that ends in
//!   `DEADLINE_EXCEEDED`, `RESOURCE_EXHAUSTED` or `UNAVAILABLE` without a message, a timeout, and a
//!   connection that cannot be made or breaks. If more than a fifth of the requests since the last
//!   step was rejected, the limit is lowered once, to nine tenths.
//! - **Drops**: a request that is dropped before its first byte counts as a response if it took
//!   twice as long as the baseline, or longer than the threshold.
//!
//! Other failures, such as any other 4xx, are ignored, and so are rejections by an inner layer of
//! this crate. An error counts only if it is a [`BoxError`](crate::BoxError): with
//! [`respond`](ConcurrencyLayer::respond) an inner error is ignored.
//!
//! A step takes at least two round trips and 40 responses, or nine rejections. The limit does not
//! rise while less than three quarters of it are used.
//!
//! Limitations:
//!
//! - If a service rejects more than a fifth of its requests, however few it gets, the limit stays
//!   at [`min`](Adaptive::min). If it rejects fewer, the limit is not lowered.
//! - [`min`](Adaptive::min) is assumed to cause no queue: choose it low enough.
//! - A service that becomes slower looks like a queue until two steps down have made no difference.
//! - If several processes call one service, each sees the load of the others as the
//!   service's.
//!
//! Do not use it if the service has a known limit (use a fixed one, or a `ProviderLayer`), if there
//! are only a few responses a second, if most responses come from a cache, or if latency does not
//! depend on the number of requests in flight.
//!
//! # Priorities
//!
//! With [`priority`](ConcurrencyLayer::priority), fixed and adaptive limits reject requests with a
//! low priority first: see [`Priority`] for the shares. Each priority has its own queue. A request
//! does not start while one with a higher priority waits, so it may wait forever unless
//! [`max_wait`](ConcurrencyLayer::max_wait) is set.
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
//!     .layer(service_fn(async |_: Request<()>| {
//!         Ok::<_, Infallible>(Response::new(String::new()))
//!     }));
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
//! `http::Response<B>` becomes `http::Response<GuardedBody<B, BodyPermit>>`, whose body wraps the
//! inner one. With the feature `reqwest`, `reqwest::Response` stays `reqwest::Response`. For other
//! responses use [`until_response`](ConcurrencyLayer::until_response), and for HTTP responses whose
//! bodies should not count, [`until_headers`](ConcurrencyLayer::until_headers).
//!
//! # Upgraded connections
//!
//! The response to an upgrade, such as a WebSocket's 101, has no body, so the layer releases its
//! permit although the connection continues. Leave the route outside of the layer, and let the
//! handler take a permit of the same limiter and move it into the task of the connection:
//!
//! ```
//! use axum::{Router, extract::{Request, State}, routing::get};
//! use http::{Response, StatusCode, header};
//! use tower_throttle::{ConcurrencyLayer, ConcurrencyLimiter};
//!
//! async fn socket(
//!     State(limiter): State<ConcurrencyLimiter>,
//!     request: Request,
//! ) -> Result<Response<String>, StatusCode> {
//!     let permit = limiter.try_acquire().map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
//!     // With a `WebSocketUpgrade`: `upgrade.on_upgrade(async move |socket| { .. })`
//!     tokio::spawn(async move {
//!         let connection = hyper::upgrade::on(request).await;
//!         // Use the connection.
//!         drop((connection, permit));
//!     });
//!     let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
//!     let response = response.header(header::CONNECTION, "upgrade");
//!     let response = response.header(header::UPGRADE, "echo");
//!     response.body(String::new()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
//! }
//!
//! let limiter = ConcurrencyLimiter::new(100);
//! let app = Router::new()
//!     .route("/", get(async || "a page"))
//!     .layer(ConcurrencyLayer::from(limiter.clone()).respond())
//!     .route("/socket", get(socket))
//!     .with_state(limiter);
//! # let _: Router = app;
//! ```
//!
//! A limit per client has permits as well: `try_acquire` of a `PerKeyLimiter`. Under an adaptive
//! limit, call [`Permit::succeeded`] once the connection is upgraded, so that its duration is not
//! taken for latency.
//!
//! # What is shared
//!
//! All services that a layer makes and their clones share its limiter, and so do all layers made
//! [from](ConcurrencyLayer#impl-From<ConcurrencyLimiter>-for-ConcurrencyLayer) the same
//! [`ConcurrencyLimiter`].
//!
//! # Performance
//!
//! A request that is admitted at once takes no lock and allocates nothing, nor does its release if
//! no request waits. A request that waits allocates its place in the queue, and has a timer if
//! there is a [`max_wait`](ConcurrencyLayer::max_wait). An adaptive limit reads the clock up to
//! five times for each request (with [`Latency::End`] twice more for each frame), and takes a lock
//! once.

mod adaptive;
mod hold;
mod layer;
mod limiter;
#[cfg(all(test, throttle_loom))]
mod loom_tests;
mod permit;
mod service;
mod slots;

#[cfg(feature = "redis")]
pub(crate) use self::slots::Slots;
pub use self::{
    adaptive::{Adaptive, Latency},
    hold::UntilHeaders,
    layer::ConcurrencyLayer,
    limiter::ConcurrencyLimiter,
    permit::Permit,
    service::Concurrency,
};
#[doc(no_inline)]
pub use crate::limit::{
    Prioritize, Priority, UniformPriority,
    engine::{UntilBodyEnd, UntilResponse},
};

/// The guard in the response body.
pub mod body {
    pub use super::permit::BodyPermit;
}

/// The response future of the middleware.
pub mod future {
    use std::sync::Arc;

    use super::{hold::ReportingRelease, slots::Slots};
    use crate::limit::{engine::UntilBodyEnd, rejection::AsError};

    /// The response future of a [`Concurrency`](super::Concurrency). See
    /// [`ResponseFuture`](crate::future::ResponseFuture).
    pub type ResponseFuture<S, Request, F = AsError, H = UntilBodyEnd> =
        crate::limit::engine::ResponseFuture<S, Request, Arc<Slots>, F, ReportingRelease<H>>;
}
