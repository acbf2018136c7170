//! Limit the rate at which each caller's requests start, in bounded memory.
//!
//! [`.per(key)`](crate::TokenBucketLayer::per) makes of a token bucket one for each caller, as a [key](crate::key) tells them apart: by address,
//! by API key, by whatever a closure finds in the request. A request that does not fit is refused at once.
//!
//! # Memory
//!
//! A caller takes 32 bytes, whatever its key is made of, and about 41 in a full table of a million; a caller whose bucket is full
//! again takes nothing in the end. There is a [bound](PerKeyLimiter::with_max_callers) on their number, 1,000,000 unless told. Someone new who comes when that many are not idle
//! finds no place: such newcomers share a few buckets, one for each part of the table, until there are places again. So a flood
//! of new keys neither costs more memory than the bound nor resets anybody's count. It does cost those who were idle, and
//! come back while it lasts, a bucket of their own.
//!
//! # What it costs
//!
//! A look-up takes the lock of one part of the table, of 32 or more. Nothing is allocated for a caller that is known. No thread
//! and no timer looks after the table: who brings a new caller looks for idle ones in one part now and then.
//!
//! # What callers are told
//!
//! After [`respond`](PerKeyLayer::respond) a refusal is a 429 with a `Retry-After` that is rounded up and true, and answers of
//! either kind say in [`RateLimit` fields](Fields) what is left. `t` is the time until all of the quota is there again.
//!
//! The [guide](crate::guide::migration) has the lines of `tower_governor` beside those that take their place.
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
//! let mut server = ServiceBuilder::new()
//!     .layer(TokenBucketLayer::new(Quota::per_minute(2)).per(key::ApiKey::header("x-api-key")).respond())
//!     .service(service_fn(async |_: Request<()>| {
//!         Ok::<_, Infallible>(Response::new(String::from("hello")))
//!     }));
//!
//! let from = |key: &str| Request::get("/").header("x-api-key", key).body(());
//! let answer = server.ready().await?.call(from("ann")?).await?;
//! assert_eq!(answer.headers()["ratelimit-policy"], r#""default";q=2;w=60"#);
//! assert_eq!(answer.headers()["ratelimit"], r#""default";r=1;t=30"#);
//!
//! server.ready().await?.call(from("ann")?).await?;
//! let refused = server.ready().await?.call(from("ann")?).await?;
//! assert_eq!(refused.status(), 429);
//! assert_eq!(refused.headers()["retry-after"], "30");
//! assert_eq!(server.ready().await?.call(from("bob")?).await?.status(), 200);
//! # Ok(())
//! # }
//! ```

mod answer;
mod ask;
mod bucket;
mod layer;
mod limiter;
mod service;
mod table;

pub use self::{
    answer::{Answer, Face, Problem},
    ask::{Ask, ByKey, Except, MissingKey, WithQuota},
    layer::PerKeyLayer,
    limiter::{CallerUsage, PerKeyLimiter, Refused},
    service::PerKey,
};
#[doc(inline)]
pub use crate::fields::{Fields, XReset};

/// The response future.
pub mod future {
    use std::sync::Arc;

    use super::{answer::Face, limiter::Callers};
    use crate::refusal::Fail;

    /// The response future of a [`PerKey`](super::PerKey). See [`ResponseFuture`](crate::future::ResponseFuture).
    pub type ResponseFuture<S, Request, F = Fail> =
        crate::future::ResponseFuture<S, Request, Arc<Callers>, F, <F as Face>::Hold>;
}
