//! Bodies that are recorded while they are sent, so that they can be sent again.
//!
//! A retry or a fallback can only send again what can be cloned. A body that is streamed, from a file, from a caller, out
//! of a channel, can be read once. This layer takes such a body down while it is sent, up to a bound, and lets the layers inside
//! send it again.
//!
//! # Example
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
//! use tower_throttle::{RetryAfterBackoffLayer, replay::{ReplayBody, ReplayLayer}};
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
//! Where bodies are streamed. One that holds all of its bytes and can be cloned, as [`Full<Bytes>`](http_body_util::Full) can, needs
//! none of this, and would be slowed by it: it pays for two allocations and a lock at each frame.
//!
//! # How it goes
//!
//! - The first attempt is never delayed. Each frame passes at once, trailers too, and a copy of it is kept.
//! - An attempt may fail before all of the body was sent, as with an early 429. The next one sends what was recorded, and then
//!   goes on with the rest of the original. Two attempts can't read the original at once: the one that is polled for the
//!   first time takes over, and the other gets [`ReplayError::Superseded`], which breaks off its connection. So this is not for
//!   layers that send the same request twice at one time.
//! - Past the bound ([`max_bytes`](ReplayLayer::max_bytes)) the record is freed at once and the body is sent once: a failure passes
//!   to the caller untouched, because a retry asks [`TryClone::is_replayable`](crate::TryClone::is_replayable) first. So it is when the
//!   original fails: what broke once is not sent again in parts.
//! - A length that the original tells is told for replays too. Where it tells none, neither do they.
//!
//! # Errors
//!
//! The body's error is a [`BoxError`](crate::BoxError): that of the original, or a [`ReplayError`].
//!
//! # reqwest
//!
//! A `reqwest::Request` can't have a body of another type. With the feature `reqwest` there are two layers that make an
//! `http::Request` of it, and a `reqwest::Request` of that in the end:
//!
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
//! In a `reqwest_middleware` client `HttpClientLayer` stands in place of the `HttpClient`.
//!
//! # Order of layers
//!
//! Outside of [`RetryAfterBackoff`](crate::RetryAfterBackoff) and [`Fallback`](crate::Fallback), whose requests it changes to
//! `http::Request<ReplayBody<B>>`. Where nobody inside has a clone of a body, nothing of it is recorded.
//!
//! # What is shared
//!
//! Nothing between requests. A body and its clones share the original and the record.
//!
//! # What it costs
//!
//! Two allocations for each request, and a lock and a copy for each frame. What is kept is copied, for a slice would keep all
//! that it was cut from; tiny frames are gathered, so that they cost no more than their bytes. A body that comes as one
//! frame is not copied if it is large. The record is at most as large as the bound, and is freed with the last
//! clone of the body: at the latest when the response arrives.
//!
//! # Cancellation
//!
//! The response future is the inner service's own. Bodies can be dropped at any point. An original that was not read to its end is dropped with the last
//! clone.
//!
//! # Values at the edge
//!
//! With `max_bytes(0)` only empty bodies can be sent again. `usize::MAX` is no bound. Trailers count with their text and 64 bytes
//! each.

mod body;
mod error;
mod layer;
mod record;
mod service;
mod shared;

pub use self::{body::ReplayBody, error::ReplayError, layer::ReplayLayer, service::Replay};
