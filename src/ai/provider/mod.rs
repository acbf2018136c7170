//! Limits of an AI provider: requests and tokens per minute and per day, and concurrent requests.
//!
//! The tokens of a request are estimated before it is sent. The request takes from every limit at
//! once, and its reservation is settled when the response has reported the usage. Limits can be
//! learned from the provider's response headers.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::convert::Infallible;
//! # use http_body_util::BodyExt;
//! # use tower::service_fn;
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use tower_throttle::{Dimension, RetryAfterBackoffLayer, provider::{Provider, ProviderLayer}};
//!
//! # let answer = r#"{"usage":{"prompt_tokens":9,"completion_tokens":20,"total_tokens":29}}"#;
//! # let http_client = service_fn(async |_: Request<String>| {
//! #     Ok::<_, Infallible>(Response::new(answer.to_owned()))
//! # });
//! let anthropic = ProviderLayer::new(Provider::ANTHROPIC_BUILD);
//! let limiter = anthropic.limiter().clone();
//!
//! let mut client = ServiceBuilder::new()
//!     .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
//!     .layer(anthropic)
//!     .service(http_client);
//!
//! let body = r#"{"model": "claude", "max_tokens": 100, "messages": [
//!     {"role": "user", "content": "Why is the sky blue?"}]}"#;
//! let request = Request::post("https://api.anthropic.com/v1/messages").body(body.to_owned())?;
//! let response = client.ready().await?.call(request).await?;
//!
//! let tokens = || {
//!     let usage = limiter.usage();
//!     usage.get(Dimension::Tokens).map(|limit| (limit.used, limit.reserved))
//! };
//! assert_eq!(tokens(), Some((0, 105)), "reserved: 5 for the prompt, 100 for the response");
//! response.into_body().collect().await?;
//! assert_eq!(tokens(), Some((29, 0)), "settled to the usage");
//! # Ok(())
//! # }
//! ```
//!
//! # All or nothing
//!
//! A request starts once it fits into every limit, and all limits count it at that instant. A
//! queued request is not counted by any limit. Separate layers can't guarantee this: a request that
//! waits for the second limit is already counted by the first.
//!
//! The queue is first in, first out, whatever the cost: small requests wait behind a large one,
//! which could otherwise starve. [`max_wait`](ProviderLayer::max_wait) and
//! [`max_waiting`](ProviderLayer::max_waiting) bound the queue. A rejection names the limit that
//! has no room. With [`priority`](ProviderLayer::priority), users wait ahead of batch work on the
//! same key.
//!
//! # Layer ordering
//!
//! Place it inside the retry, so that each attempt takes from the limits and a 429 pauses the next
//! one. It replaces separate rate limits. It is for clients: a rejection is an error, and there is
//! no `.respond()`. Protocols other than HTTP use a [`ProviderLimiter`]. A body that can't be
//! peeked, such as axum's, is estimated at [`default_input`](ByLength::default_input): give
//! requests a `Full<Bytes>`.
//!
//! The response type changes to one with a [`ResponseBody`](body::ResponseBody), so a fallback
//! service needs
//! `.map_response(|response| response.map(ResponseBody::from))`. With `reqwest` the type stays the
//! same.
//!
//! # From reservation to settlement
//!
//! The [`Estimate`] is reserved. When the request ends, the actual usage replaces it according to
//! the provider's [`Accounting`]:
//!
//! | the request | requests | tokens |
//! | --- | --- | --- |
//! | succeeded, and the response reports its usage | count | settled to the usage, except if they count at [admission](Counting::Admission), as with OpenAI |
//! | succeeded without a usage report, or is [incomplete](#incomplete-responses) | count | the reservation counts; for an incomplete response [`on_drop`](ProviderLayer::on_drop) decides |
//! | failed (4xx, 5xx) | count | none count, except if they count at [admission](Counting::Admission) |
//! | was rejected by the provider (such as 429) | count; returned if [learning](#learning) is enabled, since headers report what remains | returned |
//! | was not sent: the connection failed, or an inner limit rejected it | returned | returned |
//!
//! The usage is read while the body passes through, from JSON and event streams of OpenAI's
//! completions, responses and embeddings, Anthropic's messages, Gemini and Cohere, and from JSON of
//! Bedrock's Converse. Frames pass through unchanged and nothing is buffered. Compressed bodies are
//! not read, so do not request compression: the body of a rejection also tells whether a retry can
//! succeed. OpenAI's streams report their usage only on request: see [`include_usage`].
//!
//! A settlement changes the window that the units were taken from, or none if that window has
//! passed. A response never costs more than one whole limit, whatever usage it reports.
//!
//! # Incomplete responses
//!
//! A request is no longer in flight once its future or its body is dropped, or ends with an error.
//! The number of tokens that the provider has counted is then unknown, so
//! [`on_drop`](ProviderLayer::on_drop) decides: by default the tokens that were
//! [reserved](Charge::Reserved), or the tokens that the response had [reported](Charge::Reported).
//! It still counts as one request, and tokens that count at [admission](Counting::Admission) stay
//! counted. It makes no difference whether a [`TimeoutLayer`](crate::TimeoutLayer), the client or
//! the server ended the request, nor on which side of this layer.
//!
//! # Learning
//!
//! The headers of every response are read, see
//! [`RateLimits::from_headers`](crate::RateLimits::from_headers), unless
//! [`learn(false)`](ProviderLayer::learn) is set. The configured limits are only the start:
//!
//! - What a response reports is believed, whether it is more or less than the own count. It holds
//!   for the time at which its request was sent. What was sent since then counts in addition, and
//!   what has left a window or drained from a bucket since then does not count. A report may
//!   include what was in flight. So if tokens count at [completion](Counting::Completion), tokens
//!   of requests that have started since then count, or of requests that have ended if these are
//!   more.
//! - A reported limit replaces the configured one, higher or lower, at once. A request that costs
//!   more than a learned limit starts once nothing else counts: the provider may accept it.
//! - Reset times tell the shape while little is used: a limit whose usage recovers in proportion to
//!   time is a bucket, and any other is a window. This replaces the configured shape.
//! - A limit that was not configured is added, as a window if its shape is not known. If no limits
//!   are known, one request may be in flight at first, and twice as many after each response.
//! - If the usage grows by more than this client sends, other clients share the key. In the last
//!   and the current period each unit of this client then stands for several, at most eight, and a
//!   thirty-second of the limit stays free. So each client keeps its part of the usage.
//! - Limits that no header reports are found from rejections: the limit is the number of requests
//!   admitted within a period, or the number in flight if hardly any has ended in that time or the
//!   rejection says so. After each period without a rejection the limit is raised by a hundredth,
//!   and the limit on concurrency by one. A configured window of requests is lowered in the same
//!   way, if at least half of it is used, and is never raised above its configured limit.
//!
//! The response to a request that was sent before one whose response was already read is stale and
//! ignored, unless both were sent within the [margin](Provider::margin): then the higher usage
//! holds. A window is taken for a sliding one. If it is a fixed one, requests of the previous
//! window that are still counted here may be taken for new ones, and some requests may be rejected.
//! Invalid values, such as −1, 0, more remaining than the limit, or text, are ignored.
//!
//! # Rejections by the provider
//!
//! The headers and the body of a 400, 402, 403, 413, 422, 429, 498 or 5xx are read, up to 16 KiB
//! and for up to 5 s, before the response passes through unchanged, with the wait as a
//! [`Hint`](crate::Hint) in its extensions. Codes decide first, then the words of the message, then
//! the status and the headers:
//!
//! | [`ThrottleReason`] | effect |
//! | --- | --- |
//! | [`Rate`](ThrottleReason::Rate) | no request starts for the time that the provider asked for, or else for a growing time from 0.5 s on; then queued requests start at random instants one after the other |
//! | [`Concurrency`](ThrottleReason::Concurrency) | the limit on concurrency is lowered to the number admitted, if there is one or it is learned, at most by half; otherwise, or if nothing is in flight, as for `Rate` |
//! | [`Ramp`](ThrottleReason::Ramp) | as for `Rate`, and about four requests start per second for 30 s afterwards |
//! | [`Capacity`](ThrottleReason::Capacity) | none: it is not about the client's limits |
//! | [`Day`](ThrottleReason::Day), [`QuotaExhausted`](ThrottleReason::QuotaExhausted), [`TooLarge`](ThrottleReason::TooLarge) | a [`QuotaExhausted`] error in place of the response, which is not retried; after `Day` no request starts for the time that the provider asked for |
//!
//! With a [`StreamErrorLayer`](crate::StreamErrorLayer) inside this layer, an error in a stream
//! that began with 200 counts as a rejection as well. A body that it has read is not read again.
//! An event stream that ends in a rejection after its first content passes through unchanged, and
//! has the same effect once it has ended or is dropped. It costs what it reported by then. Circuit
//! breakers inside this layer are informed.
//!
//! A lowered limit on concurrency is raised by one after each period without such a rejection, up
//! to the configured limit, and beyond that if it is learned.
//!
//! Rejections of requests that were in flight when a pause began belong to that pause: they may
//! extend it but do not add up. The longest pause is ten minutes, plus at most a tenth. Then one
//! request is sent as a probe, and the others wait up to 5 s for its response.
//!
//! # Performance
//!
//! One lock, held for arithmetic only, since several numbers have to change at once. It is never
//! held across an await. A window takes 4 KiB. Admitting a request allocates nothing; a response
//! allocates a few hundred bytes for its reader. One timer runs for the whole queue, and one for
//! each request with a [`max_wait`](ProviderLayer::max_wait).
//!
//! # Shared state
//!
//! A layer has one limiter. It is shared by all services of the layer, their clones, and every
//! layer made [from](ProviderLayer#impl-From<ProviderLimiter>-for-ProviderLayer) the same
//! [`ProviderLimiter`]. With the feature `redis` several processes can share the limits: see
//! `ProviderLayer::shared`. If the provider limits each model separately, use one layer per model.

mod accounting;
mod ask;
pub mod body;
mod charge;
mod exhausted;
pub mod future;
mod include_usage;
mod layer;
mod limiter;
mod limits;
mod quota;
mod reservation;
mod service;
mod shared;
mod snapshot;
#[cfg(feature = "redis")]
mod store;
mod stream_end;
mod table;

pub use self::{
    accounting::{Accounting, Counting},
    charge::Charge,
    exhausted::QuotaExhausted,
    include_usage::include_usage,
    layer::ProviderLayer,
    limiter::ProviderLimiter,
    limits::{Provider, Shape},
    reservation::Reservation,
    service::ProviderService,
    snapshot::{LimitUsage, Usage},
    table::UnknownProvider,
};
pub(crate) use self::{limiter::Lane, quota::WHOLE};
pub use crate::ai::estimate::{ByLength, Estimate};
pub use crate::payload::error_body::ThrottleReason;
