//! How to come here from `tower_governor`, and from tower's own `RateLimit`: old lines beside new ones.
//!
//! All of them are compiled and run, with tower_governor 0.8, tower 0.5 and axum 0.8.
//!
//! # From tower_governor
//!
//! | there | here |
//! | --- | --- |
//! | `.period(d)`, `.per_second(n)`: a unit every `n` seconds | [`Quota::new(1, d)`](crate::Quota::new): [the rate](#the-rate) |
//! | `.burst_size(b)` | [`.burst(b)`](crate::Quota::burst) |
//! | `.finish()`, which is `None` for a zero | [`Quota::try_new`](crate::Quota::try_new) says what is wrong; a constant needs no check |
//! | `PeerIpKeyExtractor` | [`key::PeerIp`](crate::key::PeerIp): [keys](#the-keys) |
//! | `SmartIpKeyExtractor` | [`key::ClientIp`](crate::key::ClientIp): [proxies](#the-address-behind-proxies) |
//! | `GlobalKeyExtractor` | [`key::Global`](crate::key::Global), or no `.per(key)`, which costs less and writes `Retry-After` only |
//! | `impl KeyExtractor` | a closure, or [`impl Key`](crate::key::Key) |
//! | `.use_headers()` | written unless told otherwise: [fields](#the-fields) |
//! | `.error_handler(f)` | [`.respond_with(f)`](crate::per_key::PerKeyLayer::respond_with): [answers](#the-answer) |
//! | `.methods(list)` | [`.exempt(f)`](crate::per_key::PerKeyLayer::exempt): [methods](#the-methods) |
//! | a thread that calls `retain_recent()` | nothing: [memory](#the-sweep) |
//! | `config.limiter()` | [`layer.limiter()`](crate::per_key::PerKeyLayer::limiter) |
//! | `config.limiter().until_key_ready(&key)` | [`limiter.acquire(key, 1)`](crate::per_key::PerKeyLimiter::acquire), or [`acquire_within`](crate::per_key::PerKeyLimiter::acquire_within) |
//! | feature `tonic` | feature `grpc`: [`.respond_as(Grpc)`](crate::rejection#) |
//! | feature `tracing` | [`.on_refused(f)`](crate::per_key::PerKeyLayer::on_refused) |
//!
//! ## The rate
//!
//! Take care: their `per_second(2)` is not two a second. It is the interval, one unit every two seconds. Say the same with
//! [`Quota::new`](crate::Quota::new), or what was meant with [`Quota::per_second`](crate::Quota::per_second):
//!
//! ```
//! # use std::{net::SocketAddr, time::Duration};
//! # use axum::{Router, body::Body, extract::{ConnectInfo, Request}, routing::get};
//! # use tower::ServiceExt;
//! # use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};
//! # use tower_throttle::{Quota, TokenBucketLayer, key};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hello = || get(async || "hello");
//! // old
//! let config = GovernorConfigBuilder::default().per_second(60).burst_size(2).finish().ok_or("a zero")?;
//! let old = Router::new().route("/", hello()).layer(GovernorLayer::new(config));
//!
//! // new
//! let quota = Quota::new(1, Duration::from_secs(60)).burst(2); // and not Quota::per_second(60)
//! let new = Router::new()
//!     .route("/", hello())
//!     .layer(TokenBucketLayer::new(quota).per(key::PeerIp::default()).respond());
//!
//! # let ask = async |app: &Router| {
//! #     let mut request = Request::new(Body::empty());
//! #     request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4711))));
//! #     app.clone().oneshot(request).await.unwrap()
//! # };
//! for app in [&old, &new] {
//!     assert_eq!(ask(app).await.status(), 200);
//!     assert_eq!(ask(app).await.status(), 200);
//!     assert_eq!(ask(app).await.status(), 429);
//! }
//! // Theirs is rounded down: who obeys comes too early, and is refused once more.
//! assert_ne!(ask(&old).await.headers()["retry-after"], "60");
//! assert_eq!(ask(&new).await.headers()["retry-after"], "60");
//! # Ok(())
//! # }
//! ```
//!
//! Their `GovernorConfig::default()` is `Quota::per_second(2).burst(8)` here, and `GovernorConfig::secure()` is
//! `Quota::per_minute(15).burst(2)`. Both need `app.into_make_service_with_connect_info::<SocketAddr>()` to know their peers.
//!
//! ## The keys
//!
//! A key of one's own is a closure. What it finds becomes a [`ClientKey`](crate::key::ClientKey), which takes sixteen bytes and hides
//! what must not be kept. For an API key or a header there is one ready made, [and more](crate::key):
//!
//! ```
//! # use axum::{Router, body::Body, extract::Request, routing::get};
//! # use tower::ServiceExt;
//! # use tower_governor::{GovernorError, GovernorLayer, governor::GovernorConfigBuilder, key_extractor::KeyExtractor};
//! # use tower_throttle::{Quota, TokenBucketLayer, key::ClientKey, per_key::MissingKey};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hello = || get(async || "hello");
//! // old
//! #[derive(Clone)]
//! struct ByTenant;
//!
//! impl KeyExtractor for ByTenant {
//!     type Key = String;
//!
//!     fn extract<T>(&self, request: &http::Request<T>) -> Result<String, GovernorError> {
//!         let tenant = request.headers().get("x-tenant").and_then(|tenant| tenant.to_str().ok());
//!         tenant.map(str::to_owned).ok_or(GovernorError::UnableToExtractKey)
//!     }
//! }
//! let config = GovernorConfigBuilder::default()
//!     .per_second(60)
//!     .burst_size(1)
//!     .key_extractor(ByTenant)
//!     .finish()
//!     .ok_or("a zero")?;
//! let old = Router::new().route("/", hello()).layer(GovernorLayer::new(config));
//!
//! // new
//! let by_tenant = |request: &Request| Some(ClientKey::name(request.headers().get("x-tenant")?));
//! let layer = TokenBucketLayer::new(Quota::per_minute(1))
//!     .per(by_tenant) // or key::Header::new("x-tenant")
//!     .missing_key(MissingKey::Refuse)
//!     .respond();
//! let new = Router::new().route("/", hello()).layer(layer);
//!
//! # let ask = async |app: &Router, tenant| {
//! #     let request = Request::builder().header("x-tenant", tenant).body(Body::empty()).unwrap();
//! #     app.clone().oneshot(request).await.unwrap().status()
//! # };
//! for app in [&old, &new] {
//!     assert_eq!(ask(app, "acme").await, 200);
//!     assert_eq!(ask(app, "acme").await, 429);
//!     assert_eq!(ask(app, "ajax").await, 200);
//! }
//! // A request without its key: their fault, or ours?
//! let bare = || Request::new(Body::empty());
//! assert_eq!(old.oneshot(bare()).await?.status(), 500);
//! assert_eq!(new.oneshot(bare()).await?.status(), 400);
//! # Ok(())
//! # }
//! ```
//!
//! Unless told otherwise, all requests without a key share one bucket here: see [`MissingKey`](crate::per_key::MissingKey).
//! [`PeerIp`](crate::key::PeerIp) counts IPv6 addresses by their /64, as whoever has one has all of them; theirs counts each, which is
//! `.ipv6_prefix(128)`.
//!
//! ## The address behind proxies
//!
//! Theirs believes the first address in `X-Forwarded-For`, then `X-Real-IP`, then `Forwarded`, all of which a client can write. Here it
//! is said which proxies are there, and only what those wrote counts. So a client that writes another address each time gets:
//!
//! ```
//! # use axum::{Router, body::Body, extract::Request, routing::get};
//! # use tower::ServiceExt;
//! # use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder, key_extractor::SmartIpKeyExtractor};
//! # use tower_throttle::{Quota, TokenBucketLayer, key::ClientIp};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hello = || get(async || "hello");
//! // old
//! let config = GovernorConfigBuilder::default()
//!     .per_second(60)
//!     .burst_size(1)
//!     .key_extractor(SmartIpKeyExtractor)
//!     .finish()
//!     .ok_or("a zero")?;
//! let old = Router::new().route("/", hello()).layer(GovernorLayer::new(config));
//!
//! // new: one proxy, whose entry is the last
//! let layer = TokenBucketLayer::new(Quota::per_minute(1)).per(ClientIp::behind(1)).respond();
//! let new = Router::new().route("/", hello()).layer(layer);
//!
//! # let ask = async |app: &Router, invented: u8| {
//! #     let both = format!("198.51.100.{invented}, 192.0.2.7");
//! #     let request = Request::builder().header("x-forwarded-for", both).body(Body::empty()).unwrap();
//! #     app.clone().oneshot(request).await.unwrap().status()
//! # };
//! let of_old = [ask(&old, 1).await, ask(&old, 2).await, ask(&old, 3).await];
//! let of_new = [ask(&new, 1).await, ask(&new, 2).await, ask(&new, 3).await];
//! assert_eq!(of_old, [200, 200, 200]);
//! assert_eq!(of_new, [200, 429, 429]);
//! # Ok(())
//! # }
//! ```
//!
//! A proxy that writes another header than `X-Forwarded-For` is named: [`ClientIp::header`](crate::key::ClientIp::header).
//!
//! ## The fields
//!
//! [`.respond()`](crate::per_key::PerKeyLayer::respond) writes the `RateLimit` and `RateLimit-Policy` of the IETF's draft. Clients that
//! read the old ones get them, too, if told. Two of theirs have no like here: `x-ratelimit-after`, which is `Retry-After` over again,
//! and `x-ratelimit-whitelisted`.
//!
//! ```
//! # use std::net::SocketAddr;
//! # use axum::{Router, body::Body, extract::{ConnectInfo, Request}, routing::get};
//! # use tower::ServiceExt;
//! # use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};
//! # use tower_throttle::{Quota, TokenBucketLayer, key};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hello = || get(async || "hello");
//! use tower_throttle::per_key::{RateLimitHeaders, ResetFormat};
//!
//! // old
//! let config = GovernorConfigBuilder::default().per_second(60).burst_size(5).use_headers().finish().ok_or("a zero")?;
//! let old = Router::new().route("/", hello()).layer(GovernorLayer::new(config));
//!
//! // new
//! let layer = TokenBucketLayer::new(Quota::per_minute(1).burst(5))
//!     .per(key::PeerIp::default())
//!     .respond()
//!     .fields(RateLimitHeaders::default().x_rate_limit(ResetFormat::Delta));
//! let new = Router::new().route("/", hello()).layer(layer);
//!
//! # let ask = async |app: Router| {
//! #     let mut request = Request::new(Body::empty());
//! #     request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4711))));
//! #     app.oneshot(request).await.unwrap().headers().clone()
//! # };
//! let (old, new) = (ask(old).await, ask(new).await);
//! for fields in [&old, &new] {
//!     assert_eq!(fields["x-ratelimit-limit"], "5");
//!     assert_eq!(fields["x-ratelimit-remaining"], "4");
//! }
//! assert_eq!(new["x-ratelimit-reset"], "60");
//! assert_eq!(new["ratelimit"], r#""default";r=4;t=60"#);
//! # Ok(())
//! # }
//! ```
//!
//! ## The answer
//!
//! Their refusal is a line of text. Here [`.respond()`](crate::per_key::PerKeyLayer::respond) has no body,
//! [`.respond_as(Problem)`](crate::rejection::Problem) is a problem of RFC 9457, and a closure makes whatever else is wanted:
//!
//! ```
//! # use std::net::SocketAddr;
//! # use axum::{Router, body::Body, extract::{ConnectInfo, Request}, routing::get};
//! # use http::Response;
//! # use tower::ServiceExt;
//! # use tower_governor::{GovernorError, GovernorLayer, governor::GovernorConfigBuilder};
//! # use tower_throttle::{Quota, Rejected, TokenBucketLayer, key};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hello = || get(async || "hello");
//! // old
//! let config = GovernorConfigBuilder::default().per_second(60).burst_size(1).finish().ok_or("a zero")?;
//! let layer = GovernorLayer::new(config).error_handler(|error| match error {
//!     GovernorError::TooManyRequests { .. } => Response::builder().status(420).body(Body::from("calm down")).unwrap(),
//!     other => other.into(),
//! });
//! let old = Router::new().route("/", hello()).layer(layer);
//!
//! // new
//! let layer = TokenBucketLayer::new(Quota::per_minute(1))
//!     .per(key::PeerIp::default())
//!     .respond_with(|_: &Rejected| Response::builder().status(420).body(Body::from("calm down")).unwrap());
//! let new = Router::new().route("/", hello()).layer(layer);
//!
//! # let ask = async |app: &Router| {
//! #     let mut request = Request::new(Body::empty());
//! #     request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4711))));
//! #     app.clone().oneshot(request).await.unwrap()
//! # };
//! for app in [&old, &new] {
//!     assert_eq!(ask(app).await.status(), 200);
//!     let refused = ask(app).await;
//!     assert_eq!(refused.status(), 420);
//!     assert_eq!(axum::body::to_bytes(refused.into_body(), 100).await?, "calm down");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! With either, `Retry-After` is then for the closure to write, out of `wait_time` there and of
//! [`Rejected::retry_after`](crate::Rejected::retry_after) here. The `RateLimit` fields are added here all the same.
//!
//! ## The methods
//!
//! ```
//! # use std::net::SocketAddr;
//! # use axum::{Router, body::Body, extract::{ConnectInfo, Request}, routing::any};
//! # use http::Method;
//! # use tower::ServiceExt;
//! # use tower_governor::{GovernorLayer, governor::GovernorConfigBuilder};
//! # use tower_throttle::{Quota, TokenBucketLayer, key};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hello = || any(async || "hello");
//! // old
//! let config = GovernorConfigBuilder::default()
//!     .per_second(60)
//!     .burst_size(1)
//!     .methods(vec![Method::POST])
//!     .finish()
//!     .ok_or("a zero")?;
//! let old = Router::new().route("/", hello()).layer(GovernorLayer::new(config));
//!
//! // new
//! let layer = TokenBucketLayer::new(Quota::per_minute(1))
//!     .per(key::PeerIp::default())
//!     .exempt(|request: &Request| request.method() != Method::POST)
//!     .respond();
//! let new = Router::new().route("/", hello()).layer(layer);
//!
//! # let ask = async |app: &Router, method| {
//! #     let mut request = Request::new(Body::empty());
//! #     *request.method_mut() = method;
//! #     request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4711))));
//! #     app.clone().oneshot(request).await.unwrap().status()
//! # };
//! for app in [&old, &new] {
//!     assert_eq!(ask(app, Method::POST).await, 200);
//!     assert_eq!(ask(app, Method::POST).await, 429);
//!     assert_eq!(ask(app, Method::GET).await, 200);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! ## The sweep
//!
//! Theirs keeps each key until it is told to let go of those that are idle, and has no bound in between. Here a caller who is idle goes
//! by itself, and there is a bound, of [1,000,000 unless told](crate::per_key#memory). The thread that swept can be deleted:
//!
//! ```
//! # use std::net::{IpAddr, Ipv4Addr};
//! # use tower_governor::governor::GovernorConfigBuilder;
//! # use tower_throttle::{Quota, key, per_key::{PerKeyLayer, PerKeyLimiter}};
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // old
//! let config = GovernorConfigBuilder::default().per_second(60).finish().ok_or("a zero")?;
//! let old = config.limiter().clone();
//! let sweep = || old.retain_recent(); // in a thread, each minute
//!
//! // new
//! let new = PerKeyLimiter::new(Quota::per_minute(1).burst(8)).max_callers(1_000);
//! let layer = PerKeyLayer::new(new.clone(), key::PeerIp::default());
//!
//! for number in 0..10_000 {
//!     let address = IpAddr::from(Ipv4Addr::from(number));
//!     let _ = old.check_key(&address);
//!     let _ = new.try_acquire(address.into(), 1);
//! }
//! sweep();
//! assert_eq!(old.len(), 10_000, "of whom nobody is idle yet");
//! assert_eq!(new.callers(), 1_000);
//! # let _ = layer;
//! # Ok(())
//! # }
//! ```
//!
//! ## What they have, and this crate has not
//!
//! - Their key can be of any type that can be hashed and compared, and is kept whole. A [`ClientKey`](crate::key::ClientKey) that is longer than
//!   fifteen bytes, or a secret, is kept as a hash, and can't be read in [`top`](crate::per_key::PerKeyLimiter::top).
//! - Theirs goes over any service. Ours asks that it be `Clone`, as those of axum and of tonic are.
//!
//! And the other way about: windows, limits on what is in flight, and several limits at once; plans and costs that are asked of each
//! request, or told after it, plans that change at run time, limits that only watch, and time that is tokio's, so that
//! `tokio::time::pause` drives a test. Theirs reads a clock that no test moves.
//!
//! # From tower's `RateLimit`
//!
//! It counts in a field of its own, and so is not `Clone`. axum asks for that, so it takes a `Buffer`, and something that handles the
//! error that a `Buffer` may have. That compiles, and may not limit what was meant:
//!
//! ```
//! # use std::time::Duration;
//! # use axum::{BoxError, Router, body::Body, error_handling::HandleErrorLayer, extract::Request, http::StatusCode, routing::get};
//! # use tower::{ServiceBuilder, ServiceExt};
//! # use tower_throttle::{Quota, SlidingWindowLayer};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hello = || get(async || "hello");
//! // old
//! let old = Router::new().route("/", hello()).layer(
//!     ServiceBuilder::new()
//!         .layer(HandleErrorLayer::new(async |error: BoxError| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())))
//!         .buffer(1_024)
//!         .rate_limit(1, Duration::from_secs(60)),
//! );
//!
//! // new
//! let new = Router::new().route("/", hello()).layer(SlidingWindowLayer::new(Quota::per_minute(1)).respond());
//!
//! # let ask = async |app: &Router| app.clone().oneshot(Request::new(Body::empty())).await.unwrap().status();
//! # let begun = tokio::time::Instant::now();
//! // axum makes the layers of an app anew, here for each call, and each has a count of its own.
//! assert_eq!([ask(&old).await, ask(&old).await, ask(&old).await], [200, 200, 200]);
//! // State is in our layer, which all of them share.
//! assert_eq!([ask(&new).await, ask(&new).await, ask(&new).await], [200, 429, 429]);
//! # assert!(begun.elapsed() < Duration::from_secs(1), "nobody waited");
//! # Ok(())
//! # }
//! ```
//!
//! Under `axum::serve(listener, app)` each connection has a count of its own, and each route of it; under
//! `axum::serve(listener, app.into_make_service())` each route.
//!
//! Theirs never refuses: a request waits, however many wait before it. Here a server refuses unless it is told how long a request
//! may wait, and a client waits unless it is told that it may not:
//!
//! ```
//! # use std::{convert::Infallible, time::Duration};
//! # use http::{Request, Response};
//! # use tokio::time::Instant;
//! # use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! # use tower_throttle::{Quota, SlidingWindowLayer};
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! # let http_client = service_fn(async |_: Request<()>| Ok::<_, Infallible>(Response::new(String::new())));
//! // old
//! let mut old = ServiceBuilder::new()
//!     .rate_limit(5, Duration::from_secs(1))
//!     .service(http_client.clone());
//!
//! // new
//! let mut new = ServiceBuilder::new()
//!     .layer(SlidingWindowLayer::new(Quota::per_second(5))) // before a server: .respond().max_wait(Duration::from_secs(10))
//!     .service(http_client);
//!
//! let begun = Instant::now();
//! for _ in 0..11 {
//!     old.ready().await?.call(Request::new(())).await?;
//! }
//! assert_eq!(begun.elapsed().as_secs(), 2);
//!
//! let begun = Instant::now();
//! for _ in 0..11 {
//!     new.ready().await?.call(Request::new(())).await?;
//! }
//! assert_eq!(begun.elapsed().as_secs(), 2);
//! # Ok(())
//! # }
//! ```
//!
//! - Theirs counts in fixed periods, so that twice the limit may start around the end of one. A [`SlidingWindow`](crate::SlidingWindow) never
//!   lets more than the limit start in any period, and a [`TokenBucket`](crate::TokenBucket) spreads them evenly.
//! - Theirs is not ready while it waits, and so tells who asks it, such as `LoadShed` or a balancer. Ours is ready when the service
//!   inside is, and waits after the call, because cost and key are in the request. In place of `LoadShed` it has
//!   [`max_wait`](crate::SlidingWindowLayer::max_wait) and [`max_waiting`](crate::SlidingWindowLayer::max_waiting).
//! - A call of theirs costs less, as it shares nothing.
//! - A client's error becomes a [`BoxError`](crate::BoxError), as a wait that is refused is one. A server's stays as it is.
