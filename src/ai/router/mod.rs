//! Several providers and models, each with its own quota: whichever can answer soonest does.
//!
//! A [`Target`] is a provider with its limits, and perhaps a model there and what a request needs to go there. An
//! [`RouterLayer`] has a list of them. A request starts at one that has room now; where none has, it waits for all of them
//! at once, and goes where there is room first; where that one fails, it goes to the next. The response tells
//! [which one answered](SelectedTarget).
//!
//! # Example
//!
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
//! // Answers with where it was asked, and what.
//! let client = service_fn(async |request: Request<String>| {
//!     Ok::<_, Infallible>(Response::new(format!("{} {}", request.uri(), request.body())))
//! });
//! let small = ProviderLimiter::new(Provider::new("small").rpm(1));
//! let large = ProviderLimiter::new(Provider::new("large").rpm(1_000)).learn(true);
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
//! With `reqwest`, two accounts of which each has its key, and a deadline for each attempt:
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
//!     let (url, mut key) = (reqwest::Url::parse(url)?, HeaderValue::try_from(format!("Bearer {key}"))?);
//!     key.set_sensitive(true);
//!     Ok(move |mut request: Request| {
//!         *request.url_mut() = url.clone();
//!         request.headers_mut().insert(AUTHORIZATION, key.clone());
//!         request
//!     })
//! };
//! let limiter = |provider| ProviderLimiter::new(provider).learn(true);
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
//! # Who is chosen
//!
//! Of those that [may](#which-requests) take the request and have room now, and for which nobody waits,
//! [`ranked`](RouterLayer::ranked) takes the first; with [`weighted`](RouterLayer::weighted) they take turns by their
//! [weight](Target::weight), as far apart as they can. A service that is not ready at that instant is passed over.
//!
//! Where none has room, the request joins the queue of each, and goes to the first in which it is its turn and there is
//! room; until then it has taken nothing, anywhere. So nobody waits for one target while another one stands idle, all
//! that the targets allow together is used, and in each queue those who wait are served in the order in which they came.
//!
//! One that is larger than a target ever lets in leaves that one out. If it is larger than all allow, it is refused as
//! [`ExceedsCapacity`](crate::Reason::ExceedsCapacity) of the largest.
//!
//! # Which requests
//!
//! | the body's top-level `model` | goes to |
//! | --- | --- |
//! | is `"auto"`, or there is none, or it can't be read | any target |
//! | is the name of a target, or the [model](Target::model) of one | only those with that name or model |
//! | is another | only those without a model of their own, which take requests as they are; without any of these it is a [`NoTargetAvailable`] |
//!
//! With [`always`](RouterLayer::always) each goes to any target. A model that stands in the path, as with Gemini, is for
//! [`map_request`](Target::map_request) to put there.
//!
//! # Where one fails
//!
//! A request goes to the next target, as if it had just come, where an attempt
//!
//! - got a response whose [`Outcome`](crate::Outcome) is a failure of this target: 402, 408, 429, 5xx, and also
//!   413, but not a prompt that is too long or forbidden,
//! - ended with an error other than these two: no connection, a timeout, a
//!   [`QuotaExhausted`](crate::provider::QuotaExhausted), a [`Rejected`](crate::Rejected) of a limit further in.
//!
//! None is called twice. What the last one said is what the caller gets, and so it is where no other may take the
//! request, or is expected to take it in the time that is left. One that has begun to wait for another has let go of
//! the failure, with all that it held: if it waits in vain, it gets the refusal. Other answers pass as they are, a 401
//! or a 404 among them: a wrong key or path is there to be seen. A 429 pauses the limiter of its target for all who
//! share it, as behind a [`ProviderLayer`](crate::provider::ProviderLayer), and the other targets take over until then.
//! A request that can't be [cloned](crate::TryClone) is sent once: a [`Replay`](crate::replay) outside of this lets
//! bodies that stream be sent again.
//!
//! It may have been acted on where it failed, as with every retry, whichever its method. A failure in the middle of a body is none: the caller
//! has the response by then.
//!
//! # Left alone
//!
//! Each target has a [`Circuit`](crate::Circuit), its [own](Target::circuit) if need be. One that fails time after time, by
//! its answers, by silence, for want of connection or of money, is left alone for a while, and then one request finds out
//! whether it is well again. Where all that may take a request are left alone, they are asked all the same, one of them:
//! an answer may be had, and the failure says more than a refusal.
//!
//! One that waits elsewhere looks there again, and joins the queue when the target is well, so that it need not wait for
//! longer than that. Until then it has no place there: what the limiter has room for goes to others. So it is, too, for one
//! whose target begins to fail while it waits; it joins at the end again. And nobody waits for the sake of one that is left
//! alone: those who wait for no other ask it in their turn, all the same.
//!
//! # Waiting
//!
//! [`max_wait`](RouterLayer::max_wait) bounds the wait for all targets together. One that would wait longer at each is refused
//! at once, and told the shortest wait. How long it will be is an estimate where others wait already: they will be
//! spread over the targets as those are fast. A target's [`max_waiting`](Target::max_waiting)
//! closes it to a request, and not the others.
//!
//! # Order of layers
//!
//! ```text
//! fallback ▸ retry ▸ auto ▸ each target's own: deadline, diagnosis, concurrency ▸ client
//! ```
//!
//! It stands in place of a [`ProviderLayer`](crate::provider::ProviderLayer): each target's limiter does the same, with
//! settlement and learning. Outside of it a retry repeats only what all targets failed at, and a
//! [`Fallback`](crate::Fallback) answers where they refuse. A timeout goes inside, so that a target that hangs gives way to
//! the next one: with a layer around the client, or with [`services`](RouterLayer::services) for one that differs between
//! targets.
//!
//! An [idempotency key](crate::idempotency_key) that was set further out goes to each target, with another model in the
//! body. A server that has two of them may refuse the second for that: there, [`map_request`](Target::map_request) gives
//! the key an end of the target's own, which stays the same over attempts.
//!
//! # What is shared
//!
//! A layer has one list of targets. Each service that it makes and each clone of those share it. A
//! [`ProviderLimiter`](crate::provider::ProviderLimiter) may be in several layers, and be used on its own besides.
//!
//! # What it costs
//!
//! The body is read once for its model, besides once for the estimate, and copied with another one. A request allocates
//! what its way needs, some 200 bytes, and is cloned if there is another target to try. A service is cloned and readied for
//! each attempt, since which one is needed is not known before: none is held ready in between. One that waits has a place and
//! a clone of the service for each target.
//!
//! # Cancellation
//!
//! The [response future](future::ResponseFuture) may be dropped at any point. One that waits leaves all queues and has taken
//! nothing; one that was sent counts for what it reserved where it was sent.

mod chosen;
mod error;
pub mod future;
mod layer;
mod named;
mod race;
mod run;
mod service;
mod target;
mod weights;

pub use self::{
    chosen::SelectedTarget, error::NoTargetAvailable, layer::RouterLayer, service::Router,
    target::Target,
};
