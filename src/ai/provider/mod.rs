//! Keep all limits of an AI provider at once: requests and tokens a minute and a day, and calls in flight.
//!
//! A request is estimated before it is sent, takes from every limit at one instant, and is put right when its answer has
//! told what it used. Where the provider says what is left of its limits, they are learned from its answers.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::convert::Infallible;
//! # use http_body_util::BodyExt;
//! # use tower::service_fn;
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use tower_throttle::{RetryAfterBackoffLayer, provider::{Provider, ProviderLayer}};
//!
//! # let answer = r#"{"usage":{"prompt_tokens":9,"completion_tokens":20,"total_tokens":29}}"#;
//! # let http_client = service_fn(async |_: Request<String>| Ok::<_, Infallible>(Response::new(answer.to_owned())));
//! let anthropic = ProviderLayer::new(Provider::ANTHROPIC_BUILD).learn(true);
//! let limiter = anthropic.limiter().clone();
//!
//! let mut client = ServiceBuilder::new()
//!     .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
//!     .layer(anthropic)
//!     .service(http_client);
//!
//! let body = r#"{"model": "claude", "max_tokens": 100, "messages": [{"role": "user", "content": "Why is the sky blue?"}]}"#;
//! let request = Request::post("https://api.anthropic.com/v1/messages").body(body.to_owned())?;
//! let response = client.ready().await?.call(request).await?;
//!
//! let tokens = |at: usize| limiter.usage().limits().nth(at).map(|limit| (limit.used, limit.reserved));
//! assert_eq!(tokens(1), Some((0, 105)), "held back: 5 for the prompt, 100 for the answer");
//! response.into_body().collect().await?;
//! assert_eq!(tokens(1), Some((29, 0)), "what it was");
//! # Ok(())
//! # }
//! ```
//!
//! # All or none
//!
//! A request starts at an instant at which it fits into every limit, and is counted by all of them at that instant. One
//! that waits is counted by none, so nothing is counted in a window in which it did not start; layers that are stacked
//! can't promise that.
//!
//! Those who wait are served in the order in which they came, whatever they cost. Small requests behind a large one wait
//! for it: were they let past, the large one could wait for ever. [`max_wait`](ProviderLayer::max_wait) and
//! [`max_waiting`](ProviderLayer::max_waiting) bound the queue; a refusal says which limit it is that has no room.
//!
//! # Where it goes
//!
//! Inside of the retry, so that each attempt takes from the limits and a 429 pauses the next one, and in place of the
//! separate limits. It is for clients: a refusal is an error, and there is no `.respond()`. Other protocols than HTTP use a
//! [`ProviderLimiter`]. A body that can't be looked at, such as axum's, is estimated at
//! [`default_input`](ByLength::default_input): give requests a `Full<Bytes>`.
//!
//! A response with a [`ResponseBody`] is of another type than one without, so a fallback service needs
//! `.map_response(|response| response.map(ResponseBody::from))`; with `reqwest` both are the same.
//!
//! # From reservation to settlement
//!
//! What the [`Estimate`] says is reserved, and when the request ends, what was used takes its place, as the provider's
//! [`Accounting`] has it:
//!
//! | the request | requests | tokens |
//! | --- | --- | --- |
//! | was answered, and the answer tells its usage | count | settled to the usage, unless they count at [admission](Counting::Admission), as with OpenAI |
//! | was answered completely, and nothing tells its usage; or [incompletely](#incomplete-responses) | count | what was reserved counts, or as set by [`on_drop`](ProviderLayer::on_drop) |
//! | was answered with an error (4xx, 5xx) | count | none count, unless they count at [admission](Counting::Admission) |
//! | was refused by the provider (429 and its like) | count; come back if we [learn](#learning), since what is left is told | come back |
//! | never left: no connection came about, or a limit further in refused it | come back | come back |
//!
//! The usage is read while the body passes, in JSON and in streams of events, of OpenAI's completions, responses and
//! embeddings, Anthropic's messages, Gemini, and in JSON of Bedrock's Converse. Each frame is passed on at once and
//! unchanged, and nothing of it is kept. A compressed body is left alone, so let the client ask for none: of a refusal,
//! too, it is the body that tells what no wait will mend. OpenAI's streams tell their usage only if they are asked to:
//! see [`include_usage`].
//!
//! A settlement moves units of the window that they were taken from, or of none if that has passed. However much an
//! answer claims, it takes no more than one whole limit.
//!
//! # Incomplete responses
//!
//! A request is no longer in flight as soon as its future or its body is dropped, or ends with an
//! error. It is not known then how many tokens the provider has counted, so
//! [`on_drop`](ProviderLayer::on_drop) decides what it costs: by default the tokens that were
//! [reserved](Charge::Reserved), or those that the response had [reported](Charge::Reported). It
//! stays one request, and tokens that count at [admission](Counting::Admission) stay counted. It
//! makes no difference whether a [`TimeoutLayer`](crate::TimeoutLayer), the client or the caller
//! ended the request, nor on which side of this layer.
//!
//! # Learning
//!
//! With [`learn(true)`](ProviderLayer::learn) the headers of every answer are read, see
//! [`RateLimits::from_headers`](crate::RateLimits::from_headers), and the numbers that were given are only where it begins:
//!
//! - A limit that is told is kept, higher or lower than ours, as soon as it is told. One below an eighth of ours
//!   is believed when it is told twice. A request that costs more than a limit that was told starts once nothing else
//!   counts: the provider may know better.
//! - A limit that we did not have is added: as a bucket, if what is used of it comes back in proportion, or else as a
//!   window. Knowing none at all, one request is sent first, and twice as
//!   many after each answer, until one tells the limits.
//! - Where more is used than can be ours, somebody else uses the key: of what is left we take the share that we have of
//!   what was used, and an eighth at least. All of it is ours again two periods after that was last seen.
//! - What no header tells is found by being refused: as many requests as were let in within a period are the limit, or as
//!   many as are in flight, if hardly any has ended in that time or the refusal says so. After a period without a refusal a
//!   hundredth more is tried, and one more in flight.
//!
//! An answer to a request that was sent before one that was already heard is stale, and not heard. Values that can't
//! be, such as −1, 0, more left than the limit, or text, are as if they weren't there.
//!
//! # When the provider refuses
//!
//! The head and the body of a 402, 403, 429, 503 or 529 are read, up to 16 KiB and for up to 5 s, before the response is
//! passed on as it came:
//!
//! | [`ThrottleReason`] | what happens |
//! | --- | --- |
//! | [`Rate`](ThrottleReason::Rate) | nobody starts until the time that the provider named, or else for a growing time from half a second on; then those who wait start at random instants one after the other |
//! | [`Concurrency`](ThrottleReason::Concurrency) | the limit in flight is lowered to what was let in, if there is one or it is learned, and by half at most; else, or with nothing in flight, like a rate |
//! | [`Ramp`](ThrottleReason::Ramp) | like a rate, and about four start a second for half a minute after |
//! | [`Capacity`](ThrottleReason::Capacity) | nothing: it says nothing about our limits |
//! | [`Day`](ThrottleReason::Day), [`Money`](ThrottleReason::QuotaExhausted), [`TooLarge`](ThrottleReason::TooLarge) | the caller gets a [`QuotaExhausted`] error in place of the response, which no retry repeats; after a day's quota nobody starts until the time that was named |
//!
//! A refusal that comes late, in a stream that opened with 200, is one with a
//! [`StreamErrorLayer`](crate::StreamErrorLayer) inside of this layer. What that has read of a refusal, late or not, is not read
//! again, nor waited for.
//!
//! A limit in flight that was lowered is tried with one more after each period without such a refusal, up to what was
//! given, and beyond that where it is learned.
//!
//! Refusals of requests that were under way when a pause began belong to it: they may make it longer, and do not add up.
//! Ten minutes, and a tenth at most on top, is the longest pause; then one request finds out, and the others wait up to
//! 5 s for its answer.
//!
//! # What it costs
//!
//! One lock, held for sums alone: several numbers can only change at one instant if something holds them together. It is
//! never held while anything waits. A window takes 4 KiB. Nothing is allocated to admit a request; an answer allocates
//! the few hundred bytes of its reader. One timer runs for the whole queue, and one for each that has a
//! [`max_wait`](ProviderLayer::max_wait).
//!
//! # What is shared
//!
//! A layer has one limiter. Each service that it makes and each clone of those share it, and so does every layer made
//! [from](ProviderLayer#impl-From<ProviderLimiter>-for-ProviderLayer) the same [`ProviderLimiter`]. Limits that the
//! provider keeps for each model want a layer for each model.

mod accounting;
mod ask;
mod body;
mod charge;
mod exhausted;
pub mod future;
mod include_usage;
mod layer;
mod limiter;
mod limits;
mod outlook;
mod quota;
mod refused;
mod reservation;
mod service;
mod shared;
mod snapshot;
mod table;

pub(crate) use self::outlook::{Lane, WHOLE};
pub use self::{
    accounting::{Accounting, Counting},
    body::ResponseBody,
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
pub use crate::ai::estimate::{ByLength, Estimate};
pub use crate::payload::error_body::ThrottleReason;
