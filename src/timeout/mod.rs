//! Bounds on how long things may take: an attempt, the first byte, the wait between chunks, the whole call.
//!
//! A request that is never answered, and an answer that stalls half-way, hold their connection and their place among what is in
//! flight for as long as somebody waits. This layer ends the waiting with an error that says what took too long, and drops
//! what was waited for.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, time::Duration};
//! use futures::{StreamExt, stream};
//! use http::{Request, Response};
//! use http_body::Frame;
//! use http_body_util::{BodyExt, StreamBody};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{ConcurrencyLayer, RetryAfterBackoffLayer, TimedOut, TimeoutLayer};
//!
//! // Sends one chunk, and then nothing more.
//! let server = service_fn(async |_: Request<()>| {
//!     let chunk = stream::iter([Ok::<_, Infallible>(Frame::data(&b"Once upon a "[..]))]);
//!     Ok::<_, Infallible>(Response::new(StreamBody::new(chunk.chain(stream::pending()))))
//! });
//! let seconds = Duration::from_secs;
//! let client = ServiceBuilder::new()
//!     .layer(TimeoutLayer::whole(seconds(600)))
//!     .layer(RetryAfterBackoffLayer::new())
//!     .layer(ConcurrencyLayer::new(50))
//!     .layer(TimeoutLayer::new().attempt(seconds(60)).between_chunks(seconds(20)))
//!     .service(server);
//!
//! let mut body = client.oneshot(Request::new(())).await?.into_body();
//! assert!(body.frame().await.is_some_and(|frame| frame.is_ok()));
//! let error = body.frame().await.and_then(Result::err).ok_or("it ended well")?;
//! assert_eq!(TimedOut::of(&error), Some(TimedOut::BetweenChunks(seconds(20))));
//! assert!(body.frame().await.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # What is bounded
//!
//! | | from | to | error |
//! | --- | --- | --- | --- |
//! | [`attempt`](TimeoutLayer::attempt), 30 s unless told | the first poll of the future | the head of the response | [`TimedOut::Attempt`] |
//! | [`first_byte`](TimeoutLayer::first_byte) | the first poll of the body that finds nothing | its first byte | [`TimedOut::FirstByte`] |
//! | [`between_chunks`](TimeoutLayer::between_chunks) | any other poll that finds nothing | the next byte | [`TimedOut::BetweenChunks`] |
//! | [`whole_call`](TimeoutLayer::whole_call) | the first poll of the future | the end of the body | [`TimedOut::Call`] |
//!
//! - Without a bound for the first byte, that between chunks holds for the first one too.
//! - A slow reader is not a slow answer: between two reads no clock runs but that of the whole call.
//! - Only bytes are progress. A chunk of none, as a server may send for ever to seem alive, stops no clock, and is not passed
//!   on where the wait for bytes is bounded. Trailers are.
//! - An answer that drips a byte within each interval has no end. Nothing but `whole_call` bounds it.
//! - What is there at the instant at which the time is over is in time. What is there when it is asked for later is in time,
//!   too, but for a frame of a body whose whole call is over.
//!
//! # Errors
//!
//! The future's error, and the body's, is a [`BoxError`](crate::BoxError): the inner one, or a [`TimedOut`], which
//! [`TimedOut::of`] finds. A retry repeats requests after it as after a connection that broke, but for [`TimedOut::Call`], after
//! which nobody waits for an answer any more.
//!
//! With `reqwest` a body that is cut ends with a `reqwest::Error`, which says that the body can't be decoded, and whose `is_timeout`
//! says no: what it knows are its own timeouts. `TimedOut::of(&error.into())` finds this one, and
//! [`Outcome::of_error`](crate::Outcome::of_error) says `Timeout`.
//!
//! With a timeout the future, or the body, inside is dropped at once, before the error is returned: its connection is
//! closed, or free, permits are back. The body has ended then.
//!
//! It is a layer for clients: on an axum `Router` it needs axum's `HandleErrorLayer` outside of it.
//!
//! # Order of layers
//!
//! - Bounds on attempts and bodies go inside of the retry, so that each attempt has its own, and inside of all limits: what
//!   waits further in is waiting, too, and an attempt would time out in its own queue. Next to the client is right.
//! - The bound on the whole call goes outside of all, as a layer of its own: [`TimeoutLayer::whole`]. In one layer far inside
//!   it would bound each attempt with its body.
//!
#![cfg_attr(
    feature = "provider",
    doc = "What a request that timed out costs of a provider's limits is a setting: `ProviderLayer::on_drop`."
)]
//!
//! # Readiness
//!
//! `poll_ready` passes through and is not timed. The limits of this crate wait in the future; for a service that waits in
//! `poll_ready`, go through [`ServiceExt::oneshot`](https://docs.rs/tower/0.5/tower/trait.ServiceExt.html#method.oneshot) inside
//! of this layer, or a timeout around both.
//!
//! # What is shared
//!
//! Nothing.
//!
//! # What it costs
//!
//! Where the response is there at the first poll, and its chunks are there when they are asked for, nothing is
//! allocated and no timer is set; a bound on the whole call reads the clock at each frame. A call that has to be waited for
//! allocates one timer, for all of its bounds and its body, and reads the clock each time that nothing is there. The timer
//! is not set anew with each chunk, but when it goes off too early: a task may be woken for nothing once in that time.
//!
//! # Cancellation
//!
//! Future and body can be dropped at any point, and drop what is inside. Nothing runs in the background: what
//! nobody polls is not cut until it is polled or dropped.
//!
//! # Values at the edge
//!
//! A duration of zero is over at once for whatever is not there at the first poll. One of 30 years or more is no bound.
//!
//! # Panics
//!
//! Whatever has to be waited for needs tokio's timer: outside of a tokio runtime, or in one without time, polling panics.

mod body;
mod bounds;
pub mod future;
mod layer;
mod service;
mod timer;
mod watch;

pub use self::{body::ResponseBody, layer::TimeoutLayer, service::Timeout};
#[doc(no_inline)]
pub use crate::error::TimedOut;
