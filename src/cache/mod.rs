//! Response cache middleware.
//!
//! Responds to requests that were made before, and calls the inner service once for equal requests
//! at the same time.
//!
//! # Examples
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
//! If requests are repeated: a batch that runs a second time, tests and evaluations, many users
//! with the same question, embeddings. A model's response costs tokens and seconds; a cached one
//! costs microseconds and no quota.
//!
//! Do not use it if each response must be a new sample. A response to a request with a temperature
//! of 1 is cached like any other.
//!
//! # What is cached
//!
//! The requests that you choose: [`CacheLayer::completions`] caches requests to endpoints of model
//! APIs that only read, and [`CacheLayer::new`] takes a predicate. Everything else is passed on as
//! it is. To cache `GET` by the rules of RFC 9111, with revalidation, use the crate
//! `http-cache-tower`.
//!
//! # The key
//!
//! Two requests are equal if all of this is equal:
//!
//! - method, scheme, authority, path and query
//! - the body. In JSON, white space, the order of members and the escapes in strings do not count;
//!   numbers are compared as they are written. A body that is not a JSON object or array, has a
//!   `Content-Type` other than JSON, is nested more than 128 deep, has an object in which a name
//!   occurs twice, or a string with half a surrogate pair is compared byte by byte. Such a request
//!   is not cached by [`CacheLayer::completions`].
//! - **every request header**, with all its values in order, except the headers of the list below
//!   and headers that you [ignore](CacheLayer::ignore_header)
//!
//! Headers that are not part of the key:
//!
//! - a request: `x-request-id`, `request-id`, `x-correlation-id`, `x-client-request-id`,
//!   `x-ms-client-request-id`
//! - a request at a proxy: `cf-ray`, `cf-request-id`, `x-amzn-requestid`, `x-amz-cf-id`,
//!   `x-vercel-id`, `fly-request-id`
//! - an attempt: `amz-sdk-invocation-id`, `amz-sdk-request`, `grpc-previous-rpc-attempts`,
//!   `x-envoy-attempt-count`
//! - a trace: `traceparent`, `tracestate`, `x-amzn-trace-id`, `x-cloud-trace-context`,
//!   `grpc-trace-bin`, `b3`, `x-b3-traceid`, `x-b3-spanid`, `x-b3-parentspanid`, `x-b3-sampled`,
//!   `x-b3-flags`, `uber-trace-id`, `x-datadog-trace-id`, `x-datadog-parent-id`,
//!   `x-datadog-sampling-priority`, `x-datadog-origin`, `x-datadog-tags`, `sentry-trace`,
//!   `newrelic`, `elastic-apm-traceparent`
//! - the client program: `user-agent`, all that begin with `x-stainless-`, `x-goog-api-client`,
//!   `x-amz-user-agent`, `x-ms-useragent`
//! - the connection, the framing: `connection`, `keep-alive`, `proxy-connection`, `te`,
//!   `transfer-encoding`, `content-length`, `expect`, `priority`, `early-data`, `date`
//! - how to use the cache: `cache-control`, `pragma`
//!
//! So two clients share a response only if they send the same credentials, or none. A header that
//! is signed for each request (AWS Signature Version 4) makes every key new: sign inside of the
//! cache. A client's own `Idempotency-Key` counts: two keys are two requests. For an identity that
//! is not in the request's head, such as one in its extensions, see [`CacheLayer::key_also`].
//!
//! The store holds a hash of the key (BLAKE3, keyed with a random secret for each layer), and no
//! request. It holds responses in plain text.
//!
//! # Which responses are cached
//!
//! Responses to `GET`, `HEAD` and `POST` with status 200, or another of the
//! [`statuses`](CacheLayer::statuses), whose body came to its end and is not longer than
//! [`max_entry`](CacheLayer::max_entry). A response is not cached
//!
//! - if the request's body is [streamed](crate::body::PeekBody), or the request asks for a part
//!   (`Range`) or is conditional (`If-None-Match` and the like)
//! - if the request has `Cache-Control: no-store`, or the response has `no-store` or `private`
//! - if it sets a cookie, except cookies with which proxies tell bots from people and machines
//!   apart (`__cf_bm`, `_cfuvid`, `__cflb`, `AWSALB`, `AWSALBCORS`, `AWSALBTG`, `AWSALBTGCORS`,
//!   `GCLB`), which are not stored
//! - if it varies with everything (`Vary: *`) or with a header that is not part of the key
//! - if its body broke off, was dropped, or is not as long as its `Content-Length`
//! - if it reports an error with a good status: JSON, or an event of a stream, with an `error` that
//!   is not empty, the `type` or `object` `error`, `"success": false`, an `error_code` or a
//!   `base_resp` other than 0, or with such a member in `choices`, `delta` or `response`
//! - if its finish reason is not known to be good, such as `network_error`: the docs of
//!   `stream_errors` list the good ones
//! - if it was cut: JSON that is empty or incomplete; a stream that has nothing but keep-alives,
//!   ends within a line, or, in the formats of OpenAI, Anthropic, Gemini, Mistral, Cohere and
//!   Ollama, lacks its end
//!
//! Compressed bodies are not checked for errors and cuts. Decompress them inside of the cache.
//!
//! A response is used for [`ttl`](CacheLayer::ttl), or for its `s-maxage`, `max-age` or `Expires`
//! if that is less. A response with `no-cache` is not cached for `GET` and `HEAD`. For `POST` it
//! is, and its `Expires` is ignored: model APIs send `no-cache` with every stream, for proxies that
//! would buffer it.
//!
//! A request with `Cache-Control: no-cache` calls the inner service, and its response replaces the
//! cached one. A request with `max-age` gets no response that is older.
//!
//! # Equal requests at the same time
//!
//! The first of several equal requests calls the inner service, and the others wait for its
//! response. They stream it: each gets the head once it is there, and each frame when it comes.
//!
//! If the first request
//!
//! - is dropped, panics, fails, or gets a status that is not cached: the newest of them calls the
//!   inner service, since it is likely to wait for the longest, and the rest wait for that one
//! - gets a response that must not be shared: all call the inner service at once
//! - is woken and not polled for one to two seconds: one of them calls the inner service, because
//!   the client of the first may wait for it
//! - gets a body that breaks off: requests that have the head get a [`SharedBodyError`]; the rest
//!   call the inner service
//!
//! A request that waited for two of these in vain calls the inner service itself.
//!
//! An error is returned only by the request whose call failed.
//!
//! A task of its own reads the body, as far as [`max_entry`](CacheLayer::max_entry) ahead of the
//! requests. A body that is longer is not cached, and no more requests join. From there on, fast
//! readers wait for slow ones. A reader that reads nothing for ten seconds meanwhile gets a
//! `SharedBodyError`.
//!
//! [`single_flight(false)`](CacheLayer::single_flight) turns this off. With a `ttl` of zero nothing
//! is stored, and only this is left.
//!
//! # Cancel safety
//!
//! The response future and the body can be dropped at any point. The call to the inner service runs
//! in the future of the first request, so that it sees that request's task and can borrow; if this
//! future is dropped, the call is dropped with it, and another request makes a new one. If the
//! clients of several equal requests give up before the response's head, each new call starts at
//! zero. Spawn the futures, if they do not borrow, so that a call goes on for the other requests,
//! and at least to the head of its response:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use bytes::Bytes;
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{BoxError, CacheLayer};
//!
//! async fn spawned<F, R>(call: F) -> Result<R, BoxError>
//! where
//!     F: Future<Output = Result<R, BoxError>> + Send + 'static,
//!     R: Send + 'static,
//! {
//!     tokio::spawn(call).await?
//! }
//!
//! # let http_client = service_fn(async |_: Request<String>| {
//! #     Ok::<_, BoxError>(Response::new(Full::<Bytes>::default()))
//! # });
//! let client = ServiceBuilder::new()
//!     .map_future(spawned)
//!     .layer(CacheLayer::completions())
//!     .service(http_client);
//! # client.oneshot(Request::new(String::new())).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The body is read by a spawned task, which no request can hold up or break off. It ends when the
//! last request that reads is dropped; then the response is not cached.
//!
//! # Status
//!
//! [`Status::of`] and the header `Cache-Status` (RFC 9211) tell the source of a response. A cached
//! response, and one that is shared, has the head of the first one, with an `Age` if it is cached,
//! and without headers of the connection and extensions: these may hold anything, of any size. Ids
//! in it, such as `x-request-id` or `cf-ray`, come from the first exchange.
//!
//! # Layer ordering
//!
//! Outermost, outside of [`Fallback`](crate::Fallback) and
//! [`RetryAfterBackoff`](crate::RetryAfterBackoff): then a hit takes no quota, and requests that
//! wait for another one wait for all of its attempts. On a server, inside of authentication.
//!
//! A layer, its clones and all services that they create share a store. Services that respond
//! differently to equal requests need layers of their own, and so does a cache inside of another
//! one, where a request would wait for itself.
//!
//! # Errors
//!
//! The future returns the inner service's errors, unchanged. The body's error is a
//! [`BoxError`](crate::BoxError): the inner body's, or a [`SharedBodyError`].
//!
//! # Panics
//!
//! If a response is to be shared or cached and there is no Tokio runtime.
//!
//! # Performance
//!
//! A hit takes a few microseconds for a request of one kilobyte, most of it for the key. A miss
//! costs a copy of the response's head, a box for the body, a task, and a lock and a copy for each
//! frame. A cached response takes the bytes of its head and body, about 100 bytes for each frame,
//! and half a kilobyte. The store exceeds [`max_bytes`](CacheLayer::max_bytes) at no time; the
//! least recently used response goes first. Each response that is not complete takes up to
//! `max_entry` in addition.
//!
//! A body is also too long if it has more frames than one for each 100 bytes of `max_entry`, plus
//! 64.

pub mod body;
mod coalesce;
mod completions;
mod directives;
mod entry;
mod error;
mod frames;
mod head;
mod hit;
mod json;
mod key;
mod noise;
mod policy;
mod service;
mod sound;
mod status;
mod store;

/// The response future.
pub mod future;

pub use self::{
    error::SharedBodyError,
    service::{Cache, CacheLayer},
    status::Status,
    store::CacheUsage,
};
