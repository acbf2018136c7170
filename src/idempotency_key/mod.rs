//! One idempotency key for all attempts of a request.
//!
//! A POST that got no answer may have been acted on all the same. A server that knows the header `Idempotency-Key` acts once
//! on all requests that have the same one, so the request can be repeated: that is how the SDKs of AI providers and
//! of payment services send theirs. This layer gives each request with an unsafe method a key, outside of a retry, so that all
//! attempts have the same.
//!
//! # Example
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, sync::Mutex};
//! use http::{HeaderValue, Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{RetryAfterBackoffLayer, idempotency_key::IdempotencyKeyLayer};
//!
//! // Fails once, and notes the keys.
//! static KEYS: Mutex<Vec<HeaderValue>> = Mutex::new(Vec::new());
//! let server = service_fn(async |request: Request<&'static str>| {
//!     let mut keys = KEYS.lock().unwrap();
//!     keys.push(request.headers()["idempotency-key"].clone());
//!     let status = if keys.len() == 1 { 500 } else { 200 };
//!     Ok::<_, Infallible>(Response::builder().status(status).body(()).unwrap())
//! });
//! let client = ServiceBuilder::new()
//!     .layer(IdempotencyKeyLayer::new())
//!     .layer(RetryAfterBackoffLayer::new())
//!     .service(server);
//!
//! let response = client.oneshot(Request::post("/v1/messages").body("hello")?).await?;
//! assert_eq!(response.status(), 200);
//! let keys = KEYS.lock().unwrap();
//! assert_eq!(keys[0], keys[1]);
//! # Ok(())
//! # }
//! ```
//!
//! # Which requests get one
//!
//! Those whose method is not idempotent by itself, such as POST and PATCH, and that have no such header yet. A key of the
//! caller's own is left alone, whatever is in it.
//!
//! The key is 122 random bits, written as a version 4 UUID without quotation marks, as the SDKs send it.
//! The IETF's draft would have it a quoted string; a server that reads the header as the draft says can be given one by the
//! caller.
//!
//! # When to use it
//!
//! Only where the server honours the header: [`OutcomePolicy`](crate::retry::OutcomePolicy) repeats a request that has an
//! `Idempotency-Key` as it would a GET. One that ignores it acts twice. A header with [another name](IdempotencyKeyLayer::name)
//! is not known to `OutcomePolicy`: [`retry_non_idempotent`](crate::RetryAfterBackoffLayer::retry_non_idempotent) says that it makes requests
//! repeatable.
//!
//! # Order of layers
//!
//! Outside of [`RetryAfterBackoff`](crate::RetryAfterBackoff). Inside of it each attempt would be a request of its own. And inside of
//! a [`Fallback`](crate::Fallback): one that asks the same server for something else, such as another model, would send it
//! the same key with another body, which a server that keeps to the IETF's draft refuses.
//!
//! # What it costs
//!
//! A random number and the text of a key for each request that gets one, and nothing for others.
//!
//! # Cancellation
//!
//! The response future is the inner service's own.

mod key;
mod layer;
mod service;

pub use self::{layer::IdempotencyKeyLayer, service::IdempotencyKey};
