//! Answer what was asked before without asking again.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::atomic::{AtomicU32, Ordering}};
//! # use bytes::Bytes;
//! # use http_body_util::{BodyExt, Full};
//! # use tower::service_fn;
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt};
//! use tower_throttle::{CacheLayer, cache::Status};
//!
//! # static CALLS: AtomicU32 = AtomicU32::new(0);
//! # let http_client = service_fn(async |_: Request<String>| {
//! #     let number = CALLS.fetch_add(1, Ordering::Relaxed) + 1;
//! #     Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(number.to_string()))))
//! # });
//! let mut client = ServiceBuilder::new()
//!     .layer(CacheLayer::completions())
//!     .service(http_client);
//!
//! for (body, expected) in [
//!     (r#"{"model": "m", "temperature": 0}"#, Status::Miss),
//!     (r#"{ "temperature":0, "model":"m" }"#, Status::Hit),
//! ] {
//!     let request = Request::post("https://api.example.com/v1/messages").body(body.to_owned())?;
//!     let response = client.ready().await?.call(request).await?;
//!     assert_eq!(Status::of(&response), Some(expected));
//!     assert_eq!(response.into_body().collect().await?.to_bytes(), "1");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # When to use it
//!
//! Where the same is asked again: a batch that is run a second time, tests and evaluations, many users with the same question,
//! embeddings. An answer costs tokens and seconds, and one from here costs microseconds and no quota.
//!
//! Where each answer has to be drawn anew, it is the wrong layer: an answer that came at a temperature of 1 is given again like any
//! other, unless the layer is told to be [`deterministic_only`](CacheLayer::deterministic_only).
//!
//! # What is cached
//!
//! The requests that you choose: [`CacheLayer::completions`] caches requests to endpoints of model APIs
//! that only read, and [`CacheLayer::new`] takes a predicate. Everything else is passed on as it is.
//! To cache `GET` by the rules of RFC 9111, with revalidation, use the crate `http-cache-tower`.
//!
//! # The key
//!
//! Two requests are equal if all of this is equal:
//!
//! - method, scheme, authority, path and query
//! - the body. In JSON, white space, the order of members and the escapes in strings do not count;
//!   numbers are compared as they are written. A body that is not a JSON object or array, has a
//!   `Content-Type` other than JSON, is nested more than 32 deep, or has an object in which a name
//!   occurs twice is compared byte by byte.
//! - **every request header**, with all its values in order, except those of this list and those
//!   that you [ignore](CacheLayer::ignore_header):
//!
//! | names | headers that are not part of the key |
//! | --- | --- |
//! | a request | `x-request-id`, `request-id`, `x-correlation-id`, `x-client-request-id`, `x-ms-client-request-id` |
//! | a request at a proxy | `cf-ray`, `cf-request-id`, `x-amzn-requestid`, `x-amz-cf-id`, `x-vercel-id`, `fly-request-id` |
//! | an attempt | `amz-sdk-invocation-id`, `amz-sdk-request`, `grpc-previous-rpc-attempts`, `x-envoy-attempt-count` |
//! | a trace | `traceparent`, `tracestate`, `x-amzn-trace-id`, `x-cloud-trace-context`, `grpc-trace-bin`, `b3`, `x-b3-traceid`, `x-b3-spanid`, `x-b3-parentspanid`, `x-b3-sampled`, `x-b3-flags`, `uber-trace-id`, `x-datadog-trace-id`, `x-datadog-parent-id`, `x-datadog-sampling-priority`, `x-datadog-origin`, `x-datadog-tags`, `sentry-trace`, `newrelic`, `elastic-apm-traceparent` |
//! | the client program | `user-agent`, all that begin with `x-stainless-`, `x-goog-api-client`, `x-amz-user-agent`, `x-ms-useragent` |
//! | the connection, the framing | `connection`, `keep-alive`, `proxy-connection`, `te`, `transfer-encoding`, `content-length`, `expect`, `priority`, `early-data`, `date` |
//! | how to use the cache | `cache-control`, `pragma` |
//!
//! So two clients share a response only if they send the same credentials, or none. A header that is
//! signed for each request (AWS Signature Version 4) makes every key new: sign inside of the cache.
//! A client's own `Idempotency-Key` counts: two keys are two requests. For an identity that is not
//! in the request's head, such as one in its extensions, see [`CacheLayer::key_also`].
//!
//! The store holds a hash of the key (BLAKE3, keyed with a random secret for each layer), and no
//! request. It holds responses in plain text.
//!
//! # Which responses are cached
//!
//! Responses with status 200, or those of [`statuses`](CacheLayer::statuses), to GET, HEAD and POST, whose body
//! came to its end and is not longer than [`max_entry`](CacheLayer::max_entry). A response is not cached
//!
//! - if the request has a body that is [streamed](crate::PeekBody), asks for a part (`Range`), or is
//!   conditional (`If-None-Match` and the like)
//! - if the request has `Cache-Control: no-store`, or the response has `no-store` or `private`
//! - if it sets a cookie, except cookies with which proxies tell bots from people and machines apart
//!   (`__cf_bm`, `_cfuvid`, `__cflb`, `AWSALB`, `AWSALBCORS`, `AWSALBTG`, `AWSALBTGCORS`, `GCLB`), which
//!   are not stored
//! - if it varies with everything (`Vary: *`) or with a header that is not part of the key
//! - whose body broke off, was dropped, or is not as long as its `Content-Length`;
//! - that tells an error under a good status: a JSON text, or an event of a stream, with an `error` that is something, or of the
//!   `type` or `object` `error`, or one of whose `choices` is such, or its `response`;
//! - that was cut where no connection says so: JSON that is empty or not whole, or a stream that brings nothing but signs of life, ends
//!   within a line, or, of OpenAI's, Anthropic's, Gemini's, Mistral's, Cohere's and Ollama's, lacks what ends it.
//!
//! Nobody looks into an answer with a `Content-Encoding` that packs it: where you ask for one, undo it further in.
//!
//! A response is used for [`ttl`](CacheLayer::ttl), or for its `s-maxage`, `max-age` or `Expires` if that is less.
//! `no-cache` in an answer to a GET or HEAD means that it is not kept. In one to a POST it does not: servers of AI put it
//! on everything that they stream, and mean proxies that would hold it up.
//!
//! A request with `Cache-Control: no-cache` asks anew, and its answer takes the place of what was there. With `max-age` it takes
//! no answer that is older.
//!
//! # One request for many
//!
//! Of equal requests that come while none has been answered, the first one asks, and the others wait for its answer. They
//! *stream* it, too: each gets the head when it is there, and each frame when it comes. None depends on another:
//! whoever is polled drives the body, so a caller that stops reading, or goes away, holds nobody up, and the answer is kept
//! if any of them reads it to its end.
//!
//! | the first request | the others |
//! | --- | --- |
//! | is dropped or panics before its answer's head | one of them asks in its place, and the rest wait for that one |
//! | fails, or gets a status that is not kept | one of them asks; after a second failure in a row all of them do |
//! | gets an answer that must not be kept | each asks for itself, at once |
//! | could go on, and is not polled for one to two seconds | one of them asks in its place: its caller may be waiting for this very request |
//! | gets a body that breaks off | those that have its head get a [`SharedBodyError`]; the rest ask |
//!
//! A failure is given to nobody but the request that met it. A body that outgrows `max_entry` is not kept, and nobody joins any
//! more. Those who read it already get all of it; those ahead wait for those behind, so that no more than `max_entry` is held. One
//! that reads nothing for ten seconds meanwhile is passed over, with a `SharedBodyError` that says so.
//!
//! [`single_flight(false)`](CacheLayer::single_flight) turns this off. With a `ttl` of zero nothing else is left of the layer.
//!
//! # Who answered
//!
//! [`Status::of`] tells, and so does the header `Cache-Status`; an answer that was kept has an `Age` as well. A stored answer has the head
//! of the first one, without what belongs to its connection, and its extensions.
//!
//! # Order of layers
//!
//! Outermost, outside of [`Fallback`](crate::Fallback) and [`RetryAfterBackoff`](crate::RetryAfterBackoff): then a hit takes no quota, and
//! those that wait for another request wait for all of its attempts. On a server, inside of authentication.
//!
//! # Errors
//!
//! Those of the inner service, unchanged. The body's error is a [`BoxError`](crate::BoxError): that of the inner body, or a
//! [`SharedBodyError`].
//!
//! # What is shared
//!
//! A layer, its clones, and all services that they make have one store. The answers of two services of one layer are the same if the
//! requests are: give services that answer differently layers of their own.
//!
//! # What it costs
//!
//! A hit takes three microseconds where the question has a kilobyte, and fifty where it has a hundred. Anything else pays for
//! a copy of the request's headers, a box for the body, and a lock and a copy for each frame. What is kept weighs what it takes: body,
//! head, and about a kilobyte. The bound in bytes is kept at each step; what was used longest ago goes first. What is under way takes up to
//! `max_entry` for each answer more.
//!
//! # Cancellation
//!
//! Everything can be dropped at any point. An inner service that was called may have acted on its request.
//!
//! # Values at the edge
//!
//! With `max_bytes(0)` nothing is kept, and with `max_entry(0)` only what is empty. A body in more frames than one for
//! each 40 bytes of `max_entry` counts as too long. A `ttl` too long to count is for ever. Requests that
//! wait for others need tokio's timer.

mod body;
mod channel;
mod completions;
mod cookies;
mod directives;
mod entry;
mod error;
mod flight;
mod follow;
mod head;
mod json;
mod key;
mod landing;
mod layer;
mod lead;
mod noise;
mod original;
mod patience;
mod pulse;
mod record;
mod rules;
mod service;
mod sound;
mod state;
mod status;
mod store;
mod ticket;
mod usage;
mod wakers;

/// The response future.
pub mod future;

pub use self::{
    body::ResponseBody, error::SharedBodyError, layer::CacheLayer, service::Cache, status::Status,
    usage::Usage,
};
