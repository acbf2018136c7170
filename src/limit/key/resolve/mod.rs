//! Keys that take a while to find: look up whose a request is before a limit asks for its key.
//!
//! A [`Key`](crate::key::Key) reads the request, and answers at once. Where a database, a cache over the network or another service
//! has to say whose a token is, this layer asks it: its closure returns a future, and what that finds is put into the request's
//! extensions. Further in, [`key::Extension`](crate::key::Extension) reads it.
//!
//! # Examples
//!
//! What is found can be a [`ClientKey`](crate::key::ClientKey), or any type that becomes one, and that can bear the caller's plan, too:
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
//!             .limits_for(|request: &Request<()>| {
//!                 let account = request.extensions().get::<Account>();
//!                 account.map_or(Quota::per_minute(1), |account| account.quota)
//!             })
//!             .respond(),
//!     )
//!     .service(service_fn(async |_: Request<()>| {
//!         Ok::<_, Infallible>(Response::new(String::from("hello")))
//!     }));
//!
//! let anns = Request::get("/").header("x-token", "ann's").body(())?;
//! let answer = server.ready().await?.call(anns).await?;
//! assert_eq!(answer.headers()["ratelimit"], r#""default";r=59;t=1"#);
//!
//! // All others share one.
//! let answer = server.ready().await?.call(Request::new(())).await?;
//! assert_eq!(answer.headers()["ratelimit"], r#""default";r=0;t=60"#);
//! # Ok(())
//! # }
//! ```
//!
//! # A look-up that fails
//!
//! The closure decides, and its type says so. A future of an `Option<T>` makes nothing of it: with `None` the request has no
//! key, and [`missing_key`](crate::per_key::PerKeyLayer::missing_key) of the limit says what becomes of it. A future of a
//! `Result<Option<T>, Response>` answers itself with its `Err`, and nothing further in is called. The error type is the
//! inner service's own either way, so axum's `Infallible` stays:
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
//! # Order of layers
//!
//! Outside of the limit that reads the key. The look-up is made for every request, also for those that the limit refuses then:
//! where it is costly, let a limit by [address](crate::key::ClientIp), or a [`ConcurrencyLayer`](crate::ConcurrencyLayer), stand
//! further out, and remember what was found. Nothing bounds the time that it takes, either, but a
//! [`TimeoutLayer`](crate::TimeoutLayer) further out or a timeout in the closure.
//!
//! Two of these layers can be stacked, each with a type of its own, and a pair of [keys](crate::key) is a key of both.
//!
//! # Who is believed
//!
//! What was found replaces an extension of that type which a layer further out has put there, and so does `None`: it is removed.
//!
//! # What it costs
//!
//! A clone of the inner service for each request; nothing else is allocated. A look-up that is ready when it is first polled, as from a
//! cache, is followed by the call of the instance that was polled ready. One that has to wait lets go of that instance, so that
//! nothing which a service further in holds once it is ready is held meanwhile, and readies a second clone.
//!
//! Requests whose look-ups take longer are overtaken by others: who comes first to the limit further in is who is found first.
//!
//! # Cancellation
//!
//! The [response future](future::ResponseFuture) may be dropped at any point. A request whose caller was not found yet has
//! taken nothing from a limit further in.

mod found;
pub mod future;
mod layer;
mod service;

pub use self::{
    found::{Attach, Resolution},
    layer::ResolveLayer,
    service::Resolve,
};
