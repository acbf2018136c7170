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
//!     .layer(CacheLayer::new())
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
//! # What is equal
//!
//! Two requests are equal if their method, scheme, authority, path, query and body are, and these headers:
//!
//! - those that say what is asked for: `Content-Encoding`, `Content-Type`, all whose names begin with `accept`, and all whose names
//!   end with `host`, `url`, `uri`, `proto`, `scheme`, `prefix`, `method`, `target`, `override`, `model`, `deployment`, `provider`,
//!   `config`, `policy`, `guardrailidentifier`, `organization`, `project`, `beta`, `version`, `fieldmask`, `prefer`, `-accept` or `-sse`;
//! - those that say who asks, so that nobody gets what another one was told: all whose names end with `key`, `token`, `secret`,
//!   `auth`, `authorization`, `authentication`, `assertion`, `bearer`, `jwt`, `signature`, `cert`, `certificate`, `cookie`,
//!   `credential`, `credentials`, `password`, `session`, `sessionid`, `principal`, `identity`, `subject`, `sub`, `user`, `-uid`,
//!   `userid`, `username`, `userinfo`, `login`, `email`, `client-id`, `consumer`, `customer`, `account`, `tenant`, `workspace`, `org`,
//!   `orgid`, `team`, `group`, `groups`, `role` or `roles`; and all whose value is
//!   [marked as sensitive](http::HeaderValue::set_sensitive). With [`shared_between_callers`](CacheLayer::shared_between_callers) they don't
//!   count. A key in the query, as Gemini takes it, counts always, and so does a password in the URL;
//! - those whose names go on with `-id`, `-name`, `-info` or `-identifier` after such an end;
//! - but none that tell of the client's program (`x-stainless-`, `x-fern-`, `sec-`) or are another one each time, as `Idempotency-Key` is;
//! - those that were [chosen](CacheLayer::header). **If your callers are told apart by any other header, choose it.**
//!
//! Of a JSON body it is the meaning that counts: white space, the order of members, and how a string is escaped do not. Numbers
//! count as they are written: `1.0` is not `1`, and long ones lose no digit. Arrays have an order. A body that is no JSON, says by its
//! `Content-Type` that it is none, is nested more than 128 deep, or has an object with two members of one name, of which servers
//! see one or the other, is compared byte by byte.
//!
//! What is kept is found by a hash of all this (BLAKE3, with a key that each layer draws at random), so no secret and no prompt is kept
//! with it. The answers themselves are kept in plain.
//!
//! # What is kept
//!
//! Answers with status 200, or those that [`statuses`](CacheLayer::statuses) names, to GET, HEAD and POST, whose body came to its
//! end and is not longer than [`max_entry`](CacheLayer::max_entry). Not kept is an answer
//!
//! - to a request whose body can't be [looked at](crate::PeekBody) because it is streamed, or that asks for a part
//!   (`Range`) or under a condition (`If-None-Match` and the like);
//! - that has `Cache-Control: no-store`, or whose request has it; with `private` where answers are shared between callers;
//! - that sets a cookie, but for those that proxies set to tell machines from people and one machine from another (`__cf_bm`, `_cfuvid`,
//!   `__cflb`, `AWSALB`, `AWSALBCORS`, `AWSALBTG`, `AWSALBTGCORS`, `GCLB`), which are not kept with it;
//! - that varies with everything (`Vary: *`). One that varies with named headers is kept for requests that have the same, one for
//!   each key;
//! - whose body broke off, was dropped, or is not as long as its `Content-Length`;
//! - that tells an error under a good status: a JSON text, or an event of a stream, with an `error` that is something, or of the
//!   `type` or `object` `error`, or one of whose `choices` is such, or its `response`;
//! - that was cut where no connection says so: JSON that is empty or not whole, or a stream that brings nothing but signs of life, ends
//!   within a line, or, of OpenAI's, Anthropic's, Gemini's, Mistral's, Cohere's and Ollama's, lacks what ends it.
//!
//! Nobody looks into an answer with a `Content-Encoding` that packs it: where you ask for one, undo it further in.
//!
//! An answer is used for [`ttl`](CacheLayer::ttl), or for its `max-age` (`s-maxage` where answers are shared) if that is less.
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
//! those that wait for another request wait for all of its attempts. On a server, inside of what checks who is asking.
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
mod canonical;
mod channel;
mod cookies;
mod directives;
mod entry;
mod error;
mod flight;
mod follow;
mod head;
mod key;
mod landing;
mod layer;
mod lead;
mod original;
mod patience;
mod pulse;
mod record;
mod role;
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
