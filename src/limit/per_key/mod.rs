//! Limits per key: each client has its own, in bounded memory.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::convert::Infallible;
//! use http::{Request, Response};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{Quota, TokenBucketLayer, key};
//!
//! let per_key = TokenBucketLayer::new(Quota::per_minute(2)).per(key::ApiKey::header("x-api-key"));
//! let mut server = ServiceBuilder::new()
//!     .layer(per_key.respond())
//!     .service(service_fn(async |_: Request<()>| {
//!         Ok::<_, Infallible>(Response::new(String::from("hello")))
//!     }));
//!
//! let from = |key: &str| Request::get("/").header("x-api-key", key).body(());
//! let response = server.ready().await?.call(from("ann")?).await?;
//! assert_eq!(response.headers()["ratelimit-policy"], r#""default";q=2;w=60"#);
//! assert_eq!(response.headers()["ratelimit"], r#""default";r=1;t=30"#);
//!
//! server.ready().await?.call(from("ann")?).await?;
//! let rejected = server.ready().await?.call(from("ann")?).await?;
//! assert_eq!(rejected.status(), 429);
//! assert_eq!(rejected.headers()["retry-after"], "30");
//! assert_eq!(server.ready().await?.call(from("bob")?).await?.status(), 200);
//! # Ok(())
//! # }
//! ```
//!
//! # Keys
//!
//! `.per(key)` turns a [token bucket](crate::TokenBucketLayer::per), a
//! [sliding window](crate::SlidingWindowLayer::per) or a
//! [concurrency limit](crate::ConcurrencyLayer::per) into one per [key](crate::key): the address,
//! the API key, what a closure returns, or what an outer layer [looks up](crate::key#look-ups).
//! [`and`](PerKeyLayer::and) adds another rate, and a request takes from both at one instant or
//! from neither.
//!
//! By default a request that does not fit is rejected at once. With
//! [`max_wait`](PerKeyLayer::max_wait) it waits in the queue of its key, in the order of
//! [priorities](PerKeyLayer::priority). Its cost may be known only
//! [after the response](PerKeyLayer::settle).
//!
//! # Responses
//!
//! After [`respond`](PerKeyLayer::respond) a rejection is a 429 with a `Retry-After` that is
//! rounded up, and all responses have [`RateLimit` headers](RateLimitHeaders) with what is left.
//! Their `t` is the time until the whole quota is available again. If several layers are stacked,
//! each adds a line of the same field, and clients read all of them as one list.
//!
//! The [migration guide](crate::guide::migration) compares this with `tower_governor`.
//!
//! # Memory
//!
//! Each key takes a row. A table of a million keys takes 1.3 times as much as its rows.
//!
//! | counted | bytes in a row |
//! | --- | --- |
//! | [`Bucket`] | 40, so about 51 a key |
//! | [`InFlight`] | 24 |
//! | [`Window`] | 64, and 16 for each start in the last period, with room for up to twice as many: at most 8 KiB |
//! | several | 16, and what each adds to that |
//!
//! The row of an idle key is removed: its bucket is full, its window is empty, or it has no request
//! in flight. The number of keys is [bounded](PerKeyLimiter::max_keys), by default by 1,000,000. If
//! the table is full of keys that are in use, new ones share a few limits, one for each part of the
//! table, and their queues, until there is room again. So a flood of new keys neither takes more
//! memory nor resets any count. During it, a key that was idle has no limit of its own.
//!
//! # Several processes
//!
//! With the feature `redis`, `.shared(&redis, "name")` gives a client one limit in all processes.
//!
//! # Performance
//!
//! A request locks one of 32 or more parts of the table. A known key allocates nothing, except a
//! window that grows. No thread or timer maintains the table: requests with new keys remove idle
//! ones, one part at a time. Each queue has one timer, and so has each request in it.

mod admission;
pub mod body;
mod by_key;
pub(in crate::limit) mod kind;
mod layer;
mod limiter;
mod permit;
mod queues;
mod release;
mod service;
#[cfg(feature = "redis")]
mod shared;
mod state;
mod table;

pub use self::{
    by_key::{ByKey, HeadRules, MissingKey},
    kind::{Bucket, InFlight, Kind, Window},
    layer::PerKeyLayer,
    limiter::{ClientUsage, PerKeyLimiter},
    permit::Permit,
    release::Settled,
    service::PerKey,
};
#[doc(inline)]
pub use crate::{
    http::headers::rate_limit::emit::{RateLimitHeaders, ResetFormat},
    limit::engine::Prioritized,
};

/// The response future.
pub mod future {
    use std::sync::Arc;

    use super::{by_key::ByKey, kind::Bucket, release::Release, state::PerKeyState};
    use crate::limit::{key::PeerIp, rejection::AsError};

    /// Response future of [`PerKey`](super::PerKey). See
    /// [`ResponseFuture`](crate::future::ResponseFuture).
    pub type ResponseFuture<S, Request, A = ByKey<PeerIp>, F = AsError, K = Bucket> =
        crate::limit::engine::ResponseFuture<S, Request, Arc<PerKeyState<K>>, F, Release<A, F, K>>;
}
