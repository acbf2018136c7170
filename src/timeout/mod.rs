//! Timeout middleware: limits the time of an attempt, the first byte, the wait between chunks, and
//! the whole call.
//!
//! A request without a response, or a response that stalls, holds its connection and its permits
//! for as long as the client waits. This layer returns an error that says what took too long, and
//! drops the inner future or body.
//!
//! # Examples
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
//! # Timeouts
//!
//! | | from | to | error |
//! | --- | --- | --- | --- |
//! | [`attempt`](TimeoutLayer::attempt), default 2 min | the first poll of the future | the head of the response | [`TimedOut::Attempt`] |
//! | [`first_byte`](TimeoutLayer::first_byte) | the first poll of the body that returns `Pending` | its first byte | [`TimedOut::FirstByte`] |
//! | [`between_chunks`](TimeoutLayer::between_chunks) | any other poll that returns `Pending` | the next byte | [`TimedOut::BetweenChunks`] |
//! | [`whole_call`](TimeoutLayer::whole_call) | the first poll of the future | the end of the body | [`TimedOut::Call`] |
//!
//! - `attempt` includes the time to send the request's body, which this layer does not see: it is
//!   what limits an upload. If yours take longer than 2 minutes, use a layer with a longer
//!   `attempt`, or with [`no_attempt`](TimeoutLayer::no_attempt), on a clone of the client.
//! - Without `first_byte`, `between_chunks` also limits the wait for the first byte.
//! - A slow reader does not cause a timeout: between two polls only `whole_call` counts.
//! - Only bytes are progress. Servers may send empty chunks to keep a connection alive. These stop
//!   no timeout, and are not passed on if the wait for bytes is limited. Trailers are.
//! - Bytes that keep a connection alive are no progress either: comments, pings and blank lines of
//!   an event stream, blank lines between JSON lines and before a JSON body. They are passed on.
//! - A response that sends content within each interval can go on forever. Only `whole_call` limits
//!   it.
//! - A response or a frame that is ready when its timeout ends is in time. One that is ready when
//!   it is polled later is also in time, except for a frame after the end of the whole call.
//!
//! # Errors
//!
//! The error of the future and of the body is a [`BoxError`](crate::BoxError): the inner one, or a
//! [`TimedOut`], which [`TimedOut::of`] finds. A retry handles it like a broken connection, except
//! for [`TimedOut::Call`], which it does not retry.
//!
//! With `reqwest`, a body that timed out ends with a `reqwest::Error` that says that the body can't
//! be decoded, and whose `is_timeout` is false, because `reqwest` knows only its own timeouts.
//! `TimedOut::of(&error.into())` returns the timeout, and
//! [`Outcome::of_error`](crate::Outcome::of_error) returns `Timeout`.
//!
//! The inner future or body is dropped before the error is returned: its connection and its permits
//! are released. The body is at its end then.
//!
//! The layer is meant for clients: on an axum `Router` it needs axum's `HandleErrorLayer` outside
//! of it.
//!
//! # Layer ordering
//!
//! - Timeouts of attempts and bodies go inside of the retry, so that each attempt has its own, and
//!   inside of all limits, because the time in an inner queue would count. Next to the client is
//!   best.
//! - The timeout of the whole call goes outside of all layers, as a layer of its own:
//!   [`TimeoutLayer::whole`]. Further in it would limit each attempt.
//! - `ProviderLayer::on_drop`, with the feature `provider`, sets what a request that timed out
//!   costs.
//!
//! # Readiness
//!
//! `poll_ready` polls the inner service and is not timed. The limits of this crate wait in the
//! future. For a service that waits in `poll_ready`, use
//! [`ServiceExt::oneshot`](https://docs.rs/tower/0.5/tower/trait.ServiceExt.html#method.oneshot)
//! inside of this layer, or a timeout around both.
//!
//! # What is shared
//!
//! Nothing.
//!
//! # Performance
//!
//! If the response is ready at the first poll, and its chunks when they are polled, nothing is
//! allocated and no timer is set; `whole_call` reads the clock at each frame. A call that returns
//! `Pending` allocates one timer for all of its timeouts, and reads the clock at each poll that
//! returns `Pending`. The timer is not reset at each chunk, but if it fires too early: a task may
//! be woken once in that time without need.
//!
//! # Cancel safety
//!
//! The future and the body may be dropped at any point, and drop the inner ones. Nothing runs in
//! the background: a body that is not polled times out at its next poll. In front of a server, a
//! body is not polled while its client does not read: see
//! [production](crate::guide::production#a-server) for what bounds that.
//!
//! # Edge cases
//!
//! A duration of zero times out unless the response is ready at the first poll. A duration of 30
//! years or more is no limit.
//!
//! # Panics
//!
//! A poll that has to wait panics outside of a Tokio runtime, or in one without a timer.

pub mod body;
mod bounds;
pub mod future;
mod service;
mod watch;

pub use self::service::{Timeout, TimeoutLayer};
#[doc(no_inline)]
pub use crate::error::TimedOut;
