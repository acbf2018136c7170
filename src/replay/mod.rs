//! Replay middleware: records a streamed request body so that it can be sent again.
//!
//! A retry or a fallback can only send a request again if it can be cloned. A streamed body, for
//! example from a file, a client or a channel, can be read once. This layer records such a body
//! while it is sent, up to a limit, so that inner layers can send it again.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use axum::body::Body;
//! use bytes::Bytes;
//! use futures::stream;
//! use http::{Request, Response};
//! use http_body_util::BodyExt;
//! use std::{convert::Infallible, sync::atomic::{AtomicU32, Ordering}};
//! use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{RetryAfterBackoffLayer, replay::{ReplayLayer, body::ReplayBody}};
//!
//! // Turns the first request away once it has read half of it.
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let server = service_fn(async |mut request: Request<ReplayBody<Body>>| {
//!     if CALLS.fetch_add(1, Ordering::Relaxed) == 0 {
//!         request.body_mut().frame().await;
//!         return Ok(Response::builder().status(429).body(Bytes::new())?);
//!     }
//!     let echo = request.into_body().collect().await?.to_bytes();
//!     Ok::<_, BoxError>(Response::new(echo))
//! });
//! let client = ServiceBuilder::new()
//!     .layer(ReplayLayer::new().max_bytes(1 << 20))
//!     .layer(RetryAfterBackoffLayer::new())
//!     .service(server);
//!
//! let stream = stream::iter(["hello, ", "world"].map(Ok::<_, Infallible>));
//! let response = client.oneshot(Request::new(Body::from_stream(stream))).await?;
//! assert_eq!(response.body(), "hello, world");
//! # Ok(())
//! # }
//! ```
//!
//! # When to use it
//!
//! If bodies are streamed. A body that holds all of its bytes and can be cloned, such as
//! [`Full<Bytes>`](http_body_util::Full), does not need this layer, which costs two allocations and
//! a lock for each frame.
//!
//! # How it works
//!
//! - The first attempt is not delayed. Each frame is passed on at once, trailers included, and a
//!   copy is recorded.
//! - If an attempt fails before all of the body is sent, as with an early 429, the next one sends
//!   what was recorded, and then the rest of the original. Two attempts can't read the original at
//!   the same time: the one that is polled for the first time takes over, and the other one's body
//!   fails with [`ReplayError::Superseded`], which closes its connection. So this does not work
//!   with layers that send a request twice at the same time.
//! - If a body is longer than [`max_bytes`](ReplayLayer::max_bytes), the record is freed at once
//!   and the body is sent once: a retry returns a failure unchanged, because it checks
//!   [`TryClone::is_replayable`](crate::TryClone::is_replayable) first. The same applies if the
//!   original body fails.
//! - Replays have the length of the original, if it has an exact one.
//!
//! # Errors
//!
//! The body's error is a [`BoxError`](crate::BoxError): the original's, or a [`ReplayError`].
//!
//! # reqwest
//!
//! A `reqwest::Request` can't have a body of another type. With the feature `reqwest` there are two
//! layers that convert it to an `http::Request` and back:
#![cfg_attr(feature = "reqwest", doc = "```")]
#![cfg_attr(not(feature = "reqwest"), doc = "```text")]
//! use tower::{Service, ServiceBuilder};
//! use tower_throttle::{
//!     HttpClient, HttpRequestLayer, RetryAfterBackoffLayer, replay::ReplayLayer,
//! };
//!
//! # rustls::crypto::ring::default_provider().install_default().ok();
//! let client = ServiceBuilder::new()
//!     .layer(HttpRequestLayer::new())
//!     .layer(ReplayLayer::new())
//!     .layer(RetryAfterBackoffLayer::new())
//!     .service(HttpClient::new(reqwest::Client::new()));
//! # fn takes<S: Service<reqwest::Request, Response = reqwest::Response>>(_: S) {}
//! # takes(client);
//! ```
//!
//! In a `reqwest_middleware` client, use `HttpClientLayer` in place of `HttpClient`.
//!
//! # Layer ordering
//!
//! Outside of [`RetryAfterBackoff`](crate::RetryAfterBackoff) and [`Fallback`](crate::Fallback),
//! whose requests become `http::Request<ReplayBody<B>>`. If no inner layer clones the body, nothing
//! is recorded.
//!
//! # What is shared
//!
//! Nothing between requests. A body and its clones share the original and the record.
//!
//! # Performance
//!
//! Two allocations for each request, and a lock and a copy for each frame. Data is copied, because
//! a slice would keep the buffer that it is a part of; tiny frames are gathered, so that they have
//! little overhead. A body that is one large frame is not copied. The record is at most as large as
//! the limit, and is freed with the last clone of the body: at the latest when the response
//! arrives.
//!
//! # Cancel safety
//!
//! The response future is the inner service's. Bodies may be dropped at any point. An original that
//! was not read to its end is dropped with the last body that shares it.
//!
//! # Edge cases
//!
//! With `max_bytes(0)` only empty bodies can be sent again. `usize::MAX` is no limit. A trailer
//! counts as its text plus 64 bytes.

pub mod body;
mod error;
mod record;
mod service;
mod shared;

pub use self::{
    error::ReplayError,
    service::{Replay, ReplayLayer},
};
