//! Looks up keys asynchronously, as in a database.
//!
//! A [`Key`](crate::key::Key) reads the request and returns at once. This layer's closure returns a
//! future, and inserts the result into the request's extensions, where
//! [`key::Extension`](crate::key::Extension) of an inner limit reads it.
//!
//! # Examples
//!
//! The result is a [`ClientKey`](crate::key::ClientKey) or any type that converts into one, which
//! can also have the limits of the client:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::{convert::Infallible, time::Duration};
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{
//!     Quota, TokenBucketLayer,
//!     key::{self, ClientKey, resolve::ResolveLayer},
//!     per_key::MissingKey,
//! };
//!
//! #[derive(Clone)]
//! struct Account {
//!     id: u64,
//!     quota: Quota,
//! }
//!
//! impl From<Account> for ClientKey {
//!     fn from(account: Account) -> Self {
//!         account.id.into()
//!     }
//! }
//!
//! async fn account_of(token: &[u8]) -> Option<Account> {
//!     tokio::time::sleep(Duration::from_millis(2)).await; // a database
//!     (token == b"ann's").then_some(Account { id: 7, quota: Quota::per_minute(60) })
//! }
//!
//! let mut server = ServiceBuilder::new()
//!     .layer(ResolveLayer::new(|request: &Request<()>| {
//!         let token = request.headers().get("x-token").cloned();
//!         async move { account_of(token?.as_bytes()).await }
//!     }))
//!     .layer(
//!         TokenBucketLayer::new(Quota::per_minute(1))
//!             .per(key::Extension::<Account>::new())
//!             .missing_key(MissingKey::Share)
//!             .limits_for(|request| {
//!                 let account = request.extensions().and_then(|all| all.get::<Account>());
//!                 account.map_or(Quota::per_minute(1), |account| account.quota)
//!             })
//!             .respond(),
//!     )
//!     .service(service_fn(async |_: Request<()>| {
//!         Ok::<_, Infallible>(Response::new(String::from("hello")))
//!     }));
//!
//! let anns = Request::get("/").header("x-token", "ann's").body(())?;
//! let response = server.ready().await?.call(anns).await?;
//! assert_eq!(response.headers()["ratelimit"], r#""default";r=59;t=1"#);
//!
//! // All other requests share one limit.
//! let response = server.ready().await?.call(Request::new(())).await?;
//! assert_eq!(response.headers()["ratelimit"], r#""default";r=0;t=60"#);
//! # Ok(())
//! # }
//! ```
//!
//! # Failures
//!
//! If a future returns `None`, the request has no key, and
//! [`missing_key`](crate::per_key::PerKeyLayer::missing_key) of the limit applies. A future of a
//! `Result<Option<T>, Response>` responds with its `Err`, and the inner service is not called. The
//! error type is the inner service's in both cases, so axum's `Infallible` stays:
//!
//! ```
//! use axum::{
//!     Router,
//!     extract::Request,
//!     http::StatusCode,
//!     response::IntoResponse,
//!     routing::get,
//! };
//! use tower_throttle::{
//!     Quota, TokenBucketLayer,
//!     key::{self, ClientKey, resolve::ResolveLayer},
//! };
//!
//! # async fn user_of(_: String) -> Result<Option<u64>, std::io::Error> { Ok(None) }
//! let app: Router = Router::new()
//!     .route("/", get(|| async { "hello" }))
//!     .layer(
//!         TokenBucketLayer::new(Quota::per_minute(60))
//!             .per(key::Extension::<ClientKey>::new())
//!             .respond(),
//!     )
//!     // In axum the layer that is added last sees a request first.
//!     .layer(ResolveLayer::new(|request: &Request| {
//!         let path = request.uri().path().to_owned();
//!         async move {
//!             match user_of(path).await {
//!                 Ok(user) => Ok(user.map(ClientKey::from)),
//!                 Err(_) => Err(StatusCode::SERVICE_UNAVAILABLE.into_response()),
//!             }
//!         }
//!     }));
//! # let _ = app;
//! ```
//!
//! # Layer ordering
//!
//! Outside the limit that reads the key. Every request is looked up, also if the limit rejects it
//! then. If that is expensive, cache the results, and put a limit by
//! [address](crate::key::ClientIp) or a [`ConcurrencyLayer`](crate::ConcurrencyLayer) outside. A
//! [`TimeoutLayer`](crate::TimeoutLayer) outside or a timeout in the closure bounds its time.
//!
//! Two of these layers can be stacked, with different types, and a pair of [keys](crate::key) is a
//! key of both.
//!
//! # Trust
//!
//! The result replaces an extension of the same type. `None` removes it.
//!
//! # Performance
//!
//! Each request clones the inner service; nothing else is allocated. A look-up that is ready at the
//! first poll, as from a cache, is followed by the call of the instance that was polled ready. One
//! that has to wait drops that instance, so that no place of an inner service is held, and readies
//! a second clone. Requests whose look-ups take longer are overtaken by others.
//!
//! # Cancel safety
//!
//! The [response future](future::ResponseFuture) may be dropped at any point. During the look-up, a
//! request has taken nothing from an inner limit.

mod found;
pub mod future;
mod layer;
mod service;

pub use self::{found::Attach, layer::ResolveLayer, service::Resolve};
