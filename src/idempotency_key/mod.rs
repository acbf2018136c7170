//! Idempotency key middleware: the same key for all attempts of a request.
//!
//! A server may have acted on a POST whose response was lost. A server that supports the header
//! `Idempotency-Key` acts once on all requests with the same key, so the request can be retried, as
//! the SDKs of AI providers and payment services do. This layer adds a key to each request with an
//! unsafe method, outside of a retry, so that all attempts have the same key.
//!
//! # Examples
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
//! # Which requests get a key
//!
//! Requests whose method is not idempotent, such as POST and PATCH, and that do not have the
//! header. A header that the client has set is not changed, even if it is empty.
//!
//! The key is 122 random bits, written as a version 4 UUID without quotation marks, as in the SDKs.
//! The IETF draft requires a quoted string; for a server that insists on it, set the header
//! yourself.
//!
//! # When to use it
//!
//! Only if the server supports the header: [`OutcomePolicy`](crate::retry::OutcomePolicy) retries a
//! request with an `Idempotency-Key` like a GET. A server that ignores it acts twice.
//! `OutcomePolicy` does not know a header with [another name](IdempotencyKeyLayer::name); use
//! [`retry_non_idempotent`](crate::RetryAfterBackoffLayer::retry_non_idempotent) as well.
//!
//! # Layer ordering
//!
//! - Outside of [`RetryAfterBackoff`](crate::RetryAfterBackoff), or each attempt gets its own key.
//! - Inside of [`Fallback`](crate::Fallback), or a backup that sends another body to the same
//!   server, such as one for another model, sends it with the same key. Servers that follow the
//!   IETF draft reject that.
//!
//! # Performance
//!
//! A random number and a header value for each request that gets a key, and nothing for others.
//!
//! # Cancel safety
//!
//! The response future is the inner service's.

mod key;
mod service;

pub use self::service::{IdempotencyKey, IdempotencyKeyLayer};
