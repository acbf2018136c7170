//! Preconfigured stack of all layers for a client of an AI provider.
//!
//! The layers, from the outermost to the innermost: the cache, if there is one; the fallback, if
//! there is one, with a check of the circuit; an idempotency key for all attempts; the retry; the
//! provider's limits; the circuit breaker; the detection of stream errors; the timeout of an
//! attempt; and the client. The guide explains [the order](crate::guide::layer_order).
//!
//! # Examples
//!
//! With one provider:
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # use std::{convert::Infallible, sync::atomic::{AtomicUsize, Ordering::Relaxed}};
//! # use bytes::Bytes;
//! # use http_body_util::{BodyExt, Full};
//! # use tower::service_fn;
//! use http::{Request, Response};
//! use tower::{Layer, ServiceExt};
//! use tower_throttle::{StackLayer, provider::{Provider, ProviderLayer}};
//!
//! // A client whose first stream opens with an error.
//! # static TIMES: AtomicUsize = AtomicUsize::new(0);
//! # let client = service_fn(async |_: Request<Full<Bytes>>| {
//! #     let events = match TIMES.fetch_add(1, Relaxed) {
//! #         0 => "data: {\"error\":{\"type\":\"overloaded_error\"}}\n\n",
//! #         _ => "data: {\"choices\":[{\"delta\":{\"content\":\"because\"}}]}\n\n",
//! #     };
//! #     let response = Response::builder().header("content-type", "text/event-stream");
//! #     Ok::<_, Infallible>(response.body(Full::new(Bytes::from(events))).unwrap())
//! # });
//! let limits = ProviderLayer::new(Provider::OPENAI_TIER_1).learn(true);
//! let client = StackLayer::new(limits).layer(client);
//!
//! let body = r#"{"model": "gpt-4o-mini", "stream": true, "messages": [{"role": "user",
//!     "content": "Why is the sky blue?"}]}"#;
//! let url = "https://api.openai.com/v1/chat/completions";
//! let request = Request::post(url).body(Full::from(body))?;
//! let body = client.oneshot(request).await?.into_body().collect().await?.to_bytes();
//! assert!(body.starts_with(br#"data: {"choices""#), "of the second attempt");
//! # Ok(())
//! # }
//! ```
//!
//! With a fallback to a second provider, a cache for both, and a timeout for the whole call:
//!
#![cfg_attr(all(feature = "cache", feature = "reqwest"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "cache", feature = "reqwest")), doc = "```ignore")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::time::Duration;
//! use tower::{Layer, ServiceBuilder, ServiceExt};
//! use tower_throttle::{
//!     CacheLayer, FallbackLayer, RetryAfterBackoffLayer, StackLayer, TimeoutLayer,
//!     provider::{Provider, ProviderLayer},
//! };
//!
//! let http = reqwest::Client::new();
//! let second = StackLayer::new(ProviderLayer::new(Provider::DEEPSEEK)).layer(http.clone());
//! let first = StackLayer::new(ProviderLayer::new(Provider::OPENAI_TIER_1).learn(true))
//!     .retry(RetryAfterBackoffLayer::new().retry_non_idempotent().attempts(3))
//!     .timeout(TimeoutLayer::new().between_chunks(Duration::from_secs(20)))
//!     .fallback(FallbackLayer::new(second).map_request(|mut request: reqwest::Request| {
//!         let _ = request.url_mut().set_host(Some("api.deepseek.com")); // and key, model
//!         request
//!     }))
//!     .cache(CacheLayer::completions());
//! let client = ServiceBuilder::new()
//!     .layer(TimeoutLayer::whole(Duration::from_secs(180)))
//!     .layer(first)
//!     .service(http);
//!
//! let url = "https://api.openai.com/v1/chat/completions";
//! let request = reqwest::Client::new().post(url).body("{}").build()?;
//! let response = client.oneshot(request).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # By hand
//!
//! A stack is a composition of the layers. This is the same one, of the same type. Without a
//! fallback its retry has [`wait_for_circuit`](crate::RetryAfterBackoffLayer::wait_for_circuit),
//! and its circuit breaker has
//! [`failure_outcomes`](crate::CircuitBreakerLayer::failure_outcomes) without
//! [`RateLimited`](crate::Outcome::RateLimited):
//!
//! ```
//! # use http::{Request, Response};
//! # use http_body_util::Full;
//! # use bytes::Bytes;
//! # use tower::service_fn;
//! use tower::{Layer, ServiceBuilder};
//! use tower_throttle::{
//!     Circuit, CircuitBreakerLayer, StreamErrorLayer, FallbackLayer, IdempotencyKeyLayer,
//!     RetryAfterBackoffLayer,
//!     StackLayer, TimeoutLayer, provider::{Provider, ProviderLayer},
//! };
//!
//! # let http_client = service_fn(async |_: Request<Full<Bytes>>| {
//! #     Ok::<_, std::io::Error>(Response::new(Full::<Bytes>::default()))
//! # });
//! let limits = ProviderLayer::new(Provider::DEEPSEEK);
//! # let backup = StackLayer::new(limits.clone()).layer(http_client);
//! let circuit = Circuit::new();
//! let by_hand = ServiceBuilder::new()
//!     .layer(FallbackLayer::new(backup.clone()))
//!     .layer(CircuitBreakerLayer::from(circuit.clone()).check_only())
//!     .layer(IdempotencyKeyLayer::new())
//!     .layer(RetryAfterBackoffLayer::new().retry_non_idempotent())
//!     .layer(limits.clone())
//!     .layer(CircuitBreakerLayer::from(circuit))
//!     .layer(StreamErrorLayer::new())
//!     .layer(TimeoutLayer::new())
//!     .service(http_client);
//!
//! let mut stack = StackLayer::new(limits).fallback(FallbackLayer::new(backup)).layer(http_client);
//! stack = by_hand;
//! # let _ = stack;
//! ```
//!
//! Compose the layers by hand to use something else in the middle, such as another
//! [`Estimate`](crate::provider::Estimate) or a [`ConcurrencyLayer`](crate::ConcurrencyLayer) that
//! several stacks share.
//!
//! # Layer ordering
//!
//! These layers go around the stack:
//!
//! - A [`ReplayLayer`](crate::ReplayLayer), for streaming request bodies. It changes the request
//!   type, so it is added by hand.
//! - [`TimeoutLayer::whole`](crate::TimeoutLayer::whole), for the whole call with all attempts and
//!   the response body.
//!
//! # Storing the client
//!
//! Without a fallback and a cache the type of the client is [`Stack`]. With them, or with closures
//! inside, box it. In either case clone it for each task:
//!
#![cfg_attr(all(feature = "cache", feature = "reqwest"), doc = "```no_run")]
#![cfg_attr(not(all(feature = "cache", feature = "reqwest")), doc = "```ignore")]
//! use reqwest::{Client, Request, Response};
//! use tower::{Layer, ServiceExt, util::BoxCloneSyncService};
//! use tower_throttle::{
//!     BoxError, CacheLayer, StackLayer, provider::{Provider, ProviderLayer}, stack::Stack,
//! };
//!
//! #[derive(Clone)]
//! struct App {
//!     plain: Stack<Client>,
//!     cached: BoxCloneSyncService<Request, Response, BoxError>,
//! }
//!
//! impl App {
//!     fn new(http: &Client) -> Self {
//!         let stack = StackLayer::new(ProviderLayer::new(Provider::DEEPSEEK));
//!         let plain = stack.layer(http.clone());
//!         let cached = stack.cache(CacheLayer::completions()).layer(http.clone());
//!         Self { plain, cached: BoxCloneSyncService::new(cached) }
//!     }
//!
//!     async fn ask(&self, request: Request) -> Result<Response, BoxError> {
//!         self.cached.clone().oneshot(request).await
//!     }
//! }
//! # let app = App::new(&Client::new());
//! # let ask = |request| async move { app.plain.clone().oneshot(request).await };
//! # tokio::spawn(ask(Request::new(reqwest::Method::GET, "http://localhost".parse().unwrap())));
//! ```
//!
//! # Shared state
//!
//! All services of a stack and their clones share its limits, retry budget, circuit and cache. Use
//! a separate stack for each provider.

mod layer;

pub use self::layer::{Stack, StackLayer};
