//! Router over several providers and models, each with its own limits.
//!
//! A [`Target`] is a provider with its limits, and optionally a model and a mapping of requests. A
//! [`RouterLayer`] has a list of them. A request starts at a target that has room now. If none has
//! room, it joins the queues of all targets and starts at the first that admits it. If a target
//! fails, the request goes to the next. The response names the [target that was
//! selected](SelectedTarget).
//!
//! # Examples
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::convert::Infallible;
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt, service_fn};
//! use tower_throttle::{
//!     router::{RouterLayer, SelectedTarget, Target},
//!     provider::{Provider, ProviderLimiter},
//! };
//!
//! // Returns the URL and the body of the request.
//! let client = service_fn(async |request: Request<String>| {
//!     Ok::<_, Infallible>(Response::new(format!("{} {}", request.uri(), request.body())))
//! });
//! let small = ProviderLimiter::new(Provider::new("small").rpm(1));
//! let large = ProviderLimiter::new(Provider::new("large").rpm(1_000));
//! let client = RouterLayer::ranked()
//!     .target(Target::new("small", small).model("llama-8b"))
//!     .target(
//!         Target::new("large", large)
//!             .model("llama-70b")
//!             .map_request(|mut request: Request<String>| {
//!                 *request.uri_mut() = "https://large.example/v1/chat".parse().unwrap();
//!                 request
//!             }),
//!     )
//!     .layer(client);
//!
//! let ask = || Request::post("https://small.example/v1").body(r#"{"model": "auto"}"#.to_owned());
//! let first = client.clone().oneshot(ask()?).await?;
//! assert_eq!(SelectedTarget::of(&first).map(SelectedTarget::target), Some("small"));
//!
//! // The one request a minute is used up.
//! let second = client.oneshot(ask()?).await?;
//! assert_eq!(SelectedTarget::of(&second).and_then(SelectedTarget::model), Some("llama-70b"));
//! # use http_body_util::BodyExt;
//! # let body = second.into_body().collect().await?.to_bytes();
//! # assert_eq!(body, r#"https://large.example/v1/chat {"model": "llama-70b"}"#);
//! # Ok(())
//! # }
//! ```
//!
//! With `reqwest`, two accounts with a key each, and a timeout for each attempt:
//!
#![cfg_attr(feature = "reqwest", doc = "```no_run")]
#![cfg_attr(not(feature = "reqwest"), doc = "```text")]
//! # async fn run(ours: String, theirs: String) -> Result<(), tower_throttle::BoxError> {
//! use std::time::Duration;
//! use reqwest::{Client, Request, header::{AUTHORIZATION, HeaderValue}};
//! use tower::{Layer, Service, ServiceBuilder, ServiceExt};
//! use tower_throttle::{
//!     RetryAfterBackoffLayer,
//!     router::{RouterLayer, SelectedTarget, Target},
//!     provider::{Provider, ProviderLimiter},
//! };
//!
//! // What a request needs to go to an account.
//! let to = |url: &'static str, key: String| -> Result<_, tower_throttle::BoxError> {
//!     let url = reqwest::Url::parse(url)?;
//!     let mut key = HeaderValue::try_from(format!("Bearer {key}"))?;
//!     key.set_sensitive(true);
//!     Ok(move |mut request: Request| {
//!         *request.url_mut() = url.clone();
//!         request.headers_mut().insert(AUTHORIZATION, key.clone());
//!         request
//!     })
//! };
//! let limiter = |provider| ProviderLimiter::new(provider);
//! let auto = RouterLayer::weighted()
//!     .target(
//!         Target::new("openai", limiter(Provider::OPENAI_TIER_1))
//!             .model("gpt-4o")
//!             .weight(2)
//!             .map_request(to("https://api.openai.com/v1/chat/completions", ours)?),
//!     )
//!     .target(
//!         Target::new("deepseek", limiter(Provider::DEEPSEEK))
//!             .model("deepseek-chat")
//!             .map_request(to("https://api.deepseek.com/chat/completions", theirs)?),
//!     )
//!     .max_wait(Duration::from_secs(60));
//!
//! let client = Client::builder().timeout(Duration::from_secs(120)).build()?;
//! let mut client = ServiceBuilder::new()
//!     .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
//!     .layer(auto)
//!     .service(client);
//!
//! let mut request = Request::new(reqwest::Method::POST, "https://api.openai.com".parse()?);
//! *request.body_mut() = Some(r#"{"model": "auto", "messages": []}"#.into());
//! let response = client.ready().await?.call(request).await?;
//! println!("{:?} answered", SelectedTarget::of(&response).map(SelectedTarget::target));
//! # Ok(())
//! # }
//! ```
//!
//! # Selection
//!
//! Among the targets that [match](#which-requests) the request, have room and have an empty queue,
//! [`ranked`](RouterLayer::ranked) selects the first, and [`weighted`](RouterLayer::weighted)
//! rotates by [weight](Target::weight), spread as evenly as possible. A target whose service is not
//! ready at that instant is skipped.
//!
//! If no target has room, the request joins the queue of each, and starts at the first that reaches
//! it. Until then it has not taken anything from any target. So no request waits for one target
//! while another is idle, and each queue is first in, first out.
//!
//! A target that can never admit a request because of its size is left out. If the request is too
//! large for all, it is rejected with the [`ExceedsCapacity`](crate::Reason::ExceedsCapacity) of
//! the largest.
//!
//! # Which requests
//!
//! | the body's top-level `model` | targets |
//! | --- | --- |
//! | is `"auto"`, is missing, or can't be read | all |
//! | is the name of a target, or the [model](Target::model) of one | those with that name or model |
//! | is another | those without a model; [`NoTargetAvailable`] if there are none |
//!
//! With [`always`](RouterLayer::always) every request may go to every target. If the model is part
//! of the path, as with Gemini, use [`map_request`](Target::map_request) to set it.
//!
//! # Failover
//!
//! A request goes to the next target if an attempt
//!
//! - returned a response whose [`Outcome`](crate::Outcome) is a failure of this target: 402, 408,
//!   429, 5xx, and 413, but not a prompt that is too long or forbidden,
//! - returned any error, such as a failed connection, a timeout, a
//!   [`QuotaExhausted`](crate::provider::QuotaExhausted), or a [`Rejected`](crate::Rejected) by an
//!   inner limit.
//!
//! Each target is called at most once. If no other target matches the request, or none is expected
//! to admit it in time, the client gets the last failure. Once the request waits for another
//! target, the failure is dropped; if the wait fails, the client gets the rejection. Other
//! responses, such as 401 or 404, are returned unchanged. A 429 pauses the target's limiter for all
//! its users, as with a [`ProviderLayer`](crate::provider::ProviderLayer), and the other targets
//! take over until then. A request that can't be [cloned](crate::TryClone) is sent once: place a
//! [`Replay`](crate::replay) outside the router to resend streaming bodies.
//!
//! As with every retry, a failed request may have been processed, whatever its method. An error in
//! the middle of a response body does not fail over, since the client has the response already; the
//! target's circuit counts it.
//!
//! # Circuit breakers
//!
//! Each target has a [`Circuit`](crate::Circuit), which can be [replaced](Target::circuit). It
//! opens after repeated failures, such as failure responses, timeouts, failed connections or
//! exhausted quotas, and lets one request through as a probe after a while. If the circuits of all
//! matching targets are open, one target is called all the same: it may respond, and its failure
//! says more than a rejection.
//!
//! A request that waits for other targets checks an open circuit again, and joins the target's
//! queue once the circuit has closed. Until then it has no place in that queue. If a circuit opens
//! while a request is queued, the request leaves that queue and later rejoins at its end. Requests
//! that match no other target stay in the queue.
//!
//! # Waiting
//!
//! [`max_wait`](RouterLayer::max_wait) bounds the wait for all targets together. A request that
//! would wait longer at every target is rejected at once, with the shortest wait. The wait is an
//! estimate if requests are queued already: it assumes that they spread over the targets by speed.
//! If as many wait for a target as its [`max_waiting`](Target::max_waiting) allows, the
//! request does not use that target, but may use others.
//!
//! # Layer ordering
//!
//! ```text
//! fallback ▸ retry ▸ router ▸ per target: timeout, stream errors, concurrency ▸ client
//! ```
//!
//! It replaces the [`ProviderLayer`](crate::provider::ProviderLayer): each target's limiter does
//! the same, including settlement and learning. A retry outside the router repeats only requests
//! that failed at all targets, and a [`Fallback`](crate::Fallback) responds if all reject. Place a
//! timeout inside, so that a target that hangs fails over to the next: with a layer around the
//! client, or with [`services`](RouterLayer::services) if it differs between targets.
//!
//! An [idempotency key](crate::idempotency_key) that was set outside is sent to each target, with a
//! different model in the body. If two targets share a server, it may reject the second for that:
//! use [`map_request`](Target::map_request) to append a suffix per target, which stays the same for
//! all attempts.
//!
//! # Shared state
//!
//! A layer has one list of targets, shared by all its services and their clones. A
//! [`ProviderLimiter`](crate::provider::ProviderLimiter) may be used in several layers and on its
//! own.
//!
//! # Performance
//!
//! The body is parsed once for its model and once for the estimate, and copied to change the model.
//! A request allocates some 200 bytes, and is cloned if there is another target to try. A service
//! is cloned and polled ready for each attempt, since the target is not known before. A queued
//! request has a place and a clone of the service for each target.
//!
//! # Cancel safety
//!
//! The [response future](future::ResponseFuture) may be dropped at any point. A queued request
//! leaves all queues and has not taken anything. A request that was sent counts with its
//! reservation at the target that it was sent to.

mod chosen;
mod error;
pub mod future;
mod named;
mod race;
mod run;
mod service;
mod target;
mod weights;

pub use self::{
    chosen::SelectedTarget,
    error::NoTargetAvailable,
    service::{Router, RouterLayer},
    target::Target,
};
