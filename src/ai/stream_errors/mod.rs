//! Make errors of AI providers that come late, or badly labelled, what they are.
//!
//! An answer that is streamed opens with 200, whatever comes of it. Where the provider is overloaded a moment later, the error
//! is an event in the stream: no retry sees it, no limiter pauses, no fallback answers. And where an error has its
//! status, the status says little: a 400 may be a prompt that is too long, or one that a policy forbids.
//! This layer reads the beginning of an answer, and tells the layers outside of it what it is.
//!
//! # Example
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
//! // Overloaded at first, as it finds out when it has begun to answer.
//! static CALLS: AtomicU32 = AtomicU32::new(0);
//! let server = service_fn(async |_: Request<&'static str>| {
//!     let stream = match CALLS.fetch_add(1, Ordering::Relaxed) {
//!         0 => "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n",
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
//! let answer = response.into_body().collect().await?.to_bytes();
//! assert!(answer.ends_with(b"{\"text\":\"Hello\"}}\n\n"));
//! assert_eq!(CALLS.load(Ordering::Relaxed), 2);
//! # Ok(())
//! # }
//! ```
//!
//! And if the outcome says that another model helps:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{
//!     StreamErrorLayer, Outcome, FallbackLayer, stream_errors::ResponseBody, predicate,
//! };
//!
//! let server = service_fn(async |_: Request<String>| {
//!     let error = r#"{"error":{"code":"context_length_exceeded","message":"Too long."}}"#;
//!     Ok::<_, Infallible>(Response::builder().status(400).body(error.to_owned()).unwrap())
//! });
//! let reads_more = service_fn(async |_: Request<String>| {
//!     Ok::<_, Infallible>(Response::new(ResponseBody::from(String::from("a summary"))))
//! });
//! let client = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(reads_more).when(predicate::outcome([Outcome::ContextTooLong])))
//!     .layer(StreamErrorLayer::new())
//!     .service(server);
//!
//! let response = client.oneshot(Request::new(String::from("a long book"))).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Streams that fail late
//!
//! The head of a 2xx answer of the type `text/event-stream`, `application/x-ndjson` or `application/json-seq` is held back until
//! the first event that has content, or an error, or until the end. What begins an answer is no content: `message_start`, `ping`,
//! `response.created` and their like, a first chunk that tells a role alone, empty text, comments. Whatever is not known to be
//! silent is content.
//!
//! An error before any content gives the response the status that it has where it comes as one, and its
//! [`Outcome`](crate::Outcome) as an extension:
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
//! Of an error that has no code that is known, the words count. Known are the forms of OpenAI's
//! completions and responses, Azure, Anthropic, Gemini, Mistral, Cohere, OpenRouter, and of servers
//! that imitate them. An `error` that is `null`, `false` or empty is none, and neither is one of
//! something else that failed: a job, one request of a batch, a call of JSON-RPC.
//!
//! Nothing else of the response changes: its headers stay, and the body is what came, byte for byte and frame by frame, with
//! its trailers. A wait that the error names is in its body alone, then, where a `ProviderLayer` reads it and a retry does not.
//!
//! Once content was passed on, nothing is changed any more: an error that comes later passes as the event that it is, for half
//! an answer can't be taken back.
//!
//! JSON that is no stream can have an error under a 200 too: see [`json`](StreamErrorLayer::json).
//!
//! # What kind of error
//!
//! Of a response with one of the statuses 400, 402, 403, 413, 422, 429 and 5xx, up to 16 KiB of the body are read, for up to 5 s,
//! and what it says is left in the response's extensions as an [`Outcome`](crate::Outcome), where
//! [`Outcome::of`](crate::Outcome::of) finds it: a prompt that is too long, one that a policy forbids, money that is
//! spent, a rate limit, an overload. The response passes on as it came. Where the body says nothing, the status counts. A kind
//! that a layer further in has left there stays.
//!
//! # Errors
//!
//! The service's error is a [`BoxError`](crate::BoxError): the inner one's, unchanged, or what a body failed with before any
//! content, as a connection that breaks before the head is an error of the call. That one comes inside an
//! [`io::Error`](std::io::Error) of the kind `UnexpectedEof`, so that a retry knows it for a broken attempt whatever its type.
//! The body of an *error* that fails is passed on as it is.
//!
//! # Bounds
//!
//! No more than 64 KiB, 256 frames, and the [patience](StreamErrorLayer::patience) of 30 s: a stream in which there is nothing until
//! then is passed on as it is, and so is one that is compressed. The last frame may be larger than the bound, as it was
//! when it came.
//!
//! # Order of layers
//!
//! Inside of [`ProviderLayer`](crate::provider::ProviderLayer), [`RetryAfterBackoff`](crate::RetryAfterBackoff) and
//! [`Fallback`](crate::Fallback): they judge the status. Outside of a [timeout](crate::timeout) of one attempt, and of the
//! time between two frames, which goes on while the beginning is held back.
//!
//! The response's type changes to one with a [`ResponseBody`], so a fallback service needs
//! `.map_response(|response| response.map(ResponseBody::from))`; with `reqwest` both are the same. Limits further in see the
//! response as it came, and what they hold travels with the body as it does without this layer.
//!
//! # What it costs
//!
//! Of a stream the events up to the first content are parsed, most often one to four: three to five microseconds and some
//! sixty small allocations in all. The caller gets the head of a stream with its first content, not before. Later frames are not looked at.
//! Of an error as much is parsed as is read. Other answers pass with no more than a look at their head, and no allocation.
//!
//! What is held back of one response is the frames that came, a copy of the event at hand, and that parsed, which for JSON that is
//! made for it may take twenty times its bytes for a moment.
//!
//! # What is shared
//!
//! Nothing.
//!
//! # Cancellation
//!
//! A call that is dropped drops the response that it holds back, and so what that holds.

pub mod future;
mod inspection;
mod layer;
mod service;
mod stream;

pub use self::{layer::StreamErrorLayer, service::StreamErrorService};
pub use crate::http::peeked_body::PeekedBody as ResponseBody;
