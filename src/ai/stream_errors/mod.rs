//! Detects errors of AI providers in the beginning of response bodies.
//!
//! A streamed response begins with 200. If the provider is overloaded a moment later, the error is
//! an event in the stream: it is not retried, no limiter pauses, and no fallback responds. An error
//! with a status of its own may be unspecific as well: a 400 may be a prompt that is too long or
//! one that a policy forbids. This layer reads the beginning of a response, and sets the status and
//! the [`Outcome`](crate::Outcome) for the layers outside it.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, sync::atomic::{AtomicU32, Ordering}};
//! use http::{Request, Response};
//! use http_body_util::BodyExt;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{StreamErrorLayer, RetryAfterBackoffLayer};
//!
//! // Overloaded at first, which is known only after the response has begun.
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let server = service_fn(async |_: Request<&'static str>| {
//!     let stream = match CALLS.fetch_add(1, Ordering::Relaxed) {
//!         0 => "event: error\ndata: {\"error\":{\"type\":\"overloaded_error\"}}\n\n",
//!         _ => "event: content_block_delta\ndata: {\"delta\":{\"text\":\"Hello\"}}\n\n",
//!     };
//!     let response = Response::builder().header("content-type", "text/event-stream");
//!     Ok::<_, Infallible>(response.body(stream.to_owned()).unwrap())
//! });
//! let client = ServiceBuilder::new()
//!     .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
//!     .layer(StreamErrorLayer::new())
//!     .service(server);
//!
//! let response = client.oneshot(Request::post("/v1/messages").body("Hi")?).await?;
//! let body = response.into_body().collect().await?.to_bytes();
//! assert!(body.ends_with(b"{\"text\":\"Hello\"}}\n\n"));
//! assert_eq!(CALLS.load(Ordering::Relaxed), 2);
//! # Ok(())
//! # }
//! ```
//!
//! A fallback to another model, depending on the outcome:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{
//!     StreamErrorLayer, Outcome, FallbackLayer, fallback::Condition,
//!     stream_errors::body::ResponseBody,
//! };
//!
//! let server = service_fn(async |_: Request<String>| {
//!     let error = r#"{"error":{"code":"context_length_exceeded","message":"Too long."}}"#;
//!     Ok::<_, Infallible>(Response::builder().status(400).body(error.to_owned()).unwrap())
//! });
//! let long_context = service_fn(async |_: Request<String>| {
//!     Ok::<_, Infallible>(Response::new(ResponseBody::from(String::from("a summary"))))
//! });
//! let client = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(long_context).when(Condition::outcome([Outcome::ContextTooLong])))
//!     .layer(StreamErrorLayer::new())
//!     .service(server);
//!
//! let response = client.oneshot(Request::new(String::from("a long book"))).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Stream errors
//!
//! A 2xx response of type `text/event-stream`, `application/x-ndjson` or `application/json-seq` is
//! held back until the first event with content, an error, or the end. Events that begin a response
//! are not content: `message_start`, `ping`, `response.created` and similar, a first chunk that has
//! only a role, empty text, comments. Unknown events count as content.
//!
//! If an error comes before any content, the response gets the status that the error has outside of
//! streams, and its [`Outcome`](crate::Outcome) as an extension:
//!
//! | the error's code, type or status | status |
//! | --- | --- |
//! | a number from 400 to 599 | that number |
//! | `invalid_request_error`, `context_length_exceeded`, `content_filter`, `INVALID_ARGUMENT` | 400 |
//! | `authentication_error`, `UNAUTHENTICATED` | 401 |
//! | `billing_error` | 402 |
//! | `permission_error`, `PERMISSION_DENIED` | 403 |
//! | `not_found_error`, `NOT_FOUND` | 404 |
//! | `request_too_large` | 413 |
//! | `rate_limit_error`, `rate_limit_exceeded`, `insufficient_quota`, `slow_down`, `RESOURCE_EXHAUSTED` | 429 |
//! | `api_error`, `server_error`, `INTERNAL`, anything else | 500 |
//! | `UNAVAILABLE` | 503 |
//! | `timeout_error`, `DEADLINE_EXCEEDED` | 504 |
//! | `overloaded_error` | 529 |
//!
//! If an error has no known code, the words of its message decide. The supported formats are from
//! OpenAI's completions and responses, Azure, Anthropic, Gemini, Mistral, Cohere, OpenRouter,
//! MiniMax, Z.AI, and compatible servers: an `error`, the `type` or `object` `error`,
//! `"success": false`, an `error_code` or a `base_resp` other than 0. An `error` that is `null`,
//! `false` or empty is ignored, and so is the failure of another operation: a job, one request of a
//! batch, a JSON-RPC call. JSON that is malformed or truncated is read as far as possible.
//!
//! Headers, body frames and trailers do not change. If the error contains a wait, it is inserted
//! into the response's extensions as a [`Hint`](crate::Hint), so that a retry waits that long.
//!
//! After the first content nothing changes: a later error passes through as an event. An outer
//! `ProviderLayer` reads it, pauses, and informs the circuit breakers inside of it.
//!
//! JSON responses may contain an error under a 200 as well: see [`json`](StreamErrorLayer::json).
//!
//! # Finish reasons
//!
//! A response without content is an error if its finish reason is not one of these, in any case:
//!
//! - `stop`, `stop_sequence`, `end_turn`, `complete`, `eos`, `eos_token`, `load`, `unload`
//! - `tool_calls`, `tool_call`, `tool_use`, `function_call`, `pause_turn`
//! - `length`, `max_tokens`, `max_length`, `model_length`, `model_context_window_exceeded`
//! - `content_filter`, `content_filtered`, `guardrail_intervened`, `refusal`, `sensitive`,
//!   `safety`, `image_safety`, `recitation`, `image_recitation`, `language`, `blocklist`,
//!   `prohibited_content`, `image_prohibited_content`, `spii`
//!
//! # Error responses
//!
//! Of a response with status 400, 402, 403, 413, 422, 429 or 5xx, up to 16 KiB of the body are
//! read, for up to 5 s. The result is stored as an extension for
//! [`Outcome::of`](crate::Outcome::of): a prompt that is too long, a policy violation, an exhausted
//! quota, a rate limit, an overload. The response passes through unchanged. If the body is
//! unspecific, the status decides. An outcome of an inner layer is kept.
//!
//! # Limits
//!
//! At most 64 KiB and 256 frames are held back, for at most the
//! [patience](StreamErrorLayer::patience) of 30 s by default. Then the stream passes through. The
//! last frame may exceed the limit. Compressed streams are not read.
//!
//! # Errors
//!
//! Returns a [`BoxError`](crate::BoxError): the error of the inner service, unchanged, or the error
//! of a successful response's body before any content. The latter is an
//! [`io::Error`](std::io::Error) of kind `UnexpectedEof`, so that it is retried like a connection
//! error. An error of the body of an *error response* passes through in the body.
//!
//! # Layer ordering
//!
//! Place it inside [`ProviderLayer`](crate::provider::ProviderLayer),
//! [`RetryAfterBackoff`](crate::RetryAfterBackoff) and [`Fallback`](crate::Fallback), which read
//! the status, and outside the [timeout](crate::timeout) of an attempt and between chunks, which
//! applies while the beginning is held back.
//!
//! The response type changes to one with a [`ResponseBody`](body::ResponseBody), so a fallback
//! service needs
//! `.map_response(|response| response.map(ResponseBody::from))`. With `reqwest` the type stays the
//! same. Inner limits see the original response, and their permits travel with the body.
//!
//! # Performance
//!
//! The events up to the first content are parsed, mostly one to four: three to five microseconds
//! and some sixty small allocations. The client receives the response with its first content. Later
//! frames are not read. Of an error response the first 16 KiB are parsed. Other responses cost a
//! check of their headers and do not allocate.
//!
//! A held response keeps its frames, a copy of the current event, and its parsed form, which for
//! adversarial JSON may briefly take twenty times its size.
//!
//! # Cancel safety
//!
//! The response future may be dropped at any point. The held response is dropped with it.

pub mod future;
mod service;
mod stream;

pub use self::service::{StreamErrorLayer, StreamErrorService};
/// The response body.
pub mod body {
    pub use crate::http::peeked_body::PeekedBody as ResponseBody;
}
