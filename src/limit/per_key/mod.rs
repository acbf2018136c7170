//! Limit each caller on its own, in bounded memory.
//!
//! `.per(key)` makes of a [token bucket](crate::TokenBucketLayer::per), a [sliding window](crate::SlidingWindowLayer::per) or a
//! [concurrency limit](crate::ConcurrencyLayer::per) one for each caller, as a [key](crate::key) tells them apart: by address,
//! by API key, by whatever a closure finds in the request, or [looks up](crate::key::resolve) further out. [`and`](PerKeyLayer::and) adds another limit on the rate, and a request
//! takes from all of them at one instant or from none.
//!
//! A request that does not fit is refused at once, or with a [`max_wait`](PerKeyLayer::max_wait) waits in its caller's line, behind those
//! of that caller only. What it costs may be known [when it is over](PerKeyLayer::settle).
//!
//! # Memory
//!
//! A caller takes a row, whatever its key is made of, of which a full table of a million takes 1.3 times as much:
//!
//! | counted | bytes in a row |
//! | --- | --- |
//! | [`Bucket`] | 40, so about 51 a caller |
//! | [`InFlight`] | 24 |
//! | [`Window`] | 64, and 16 for each start of the last period, with room for up to twice as many: 8 KiB at the most |
//! | [`Joint`] | 16, and what each adds to that |
//!
//! A caller whose bucket is full again, whose window is empty, or of whom nothing is in flight takes nothing in the end. There is a
//! [bound](PerKeyLimiter::max_callers) on their number, 1,000,000 unless told. Someone new who comes when that many are not idle
//! finds no place: such newcomers share what a few callers have, one for each part of the table, and its line, until there are places
//! again. So a flood
//! of new keys neither costs more memory than the bound nor resets anybody's count. It does cost those who were idle, and
//! come back while it lasts, a limit of their own.
//!
//! # What it costs
//!
//! A look-up takes the lock of one part of the table, of 32 or more. Nothing is allocated for a caller that is known, but by a window, which
//! grows, and for what is to be given back or settled, which is a small box. No thread
//! and no timer looks after the table: who brings a new caller looks for idle ones in one part now and then. One timer runs for each
//! line of those who wait, and one for each request in it.
//!
//! # What callers are told
//!
//! After [`respond`](PerKeyLayer::respond) a refusal is a 429 with a `Retry-After` that is rounded up and true, and answers of
//! either kind say in [`RateLimit` fields](RateLimitHeaders) what is left. `t` is the time until all of the quota is there again.
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

mod admission;
mod admitted;
mod answer;
mod ask;
mod body;
mod callers;
mod kind;
mod layer;
mod limiter;
mod line;
mod service;
mod settle;
mod several;
mod table;

pub use self::{
    admitted::Admitted,
    answer::{Answer, Face},
    ask::{Ask, ByKey, Except, MissingKey, WithPlan},
    body::Metered,
    kind::{Bucket, InFlight, Joint, Kind, Rate, Window},
    layer::PerKeyLayer,
    limiter::{ClientUsage, PerKeyLimiter},
    service::PerKey,
    settle::{ByBytes, ByResponse, Settle, Settled},
    several::OneOfSeveral,
};
#[doc(inline)]
pub use crate::http::headers::rate_limit::emit::{RateLimitHeaders, ResetFormat};

/// The response future.
pub mod future {
    use std::sync::Arc;

    use super::{answer::Face, callers::Callers, kind::Bucket, settle::Settle};
    use crate::limit::rejection::AsError;

    /// The response future of a [`PerKey`](super::PerKey). See [`ResponseFuture`](crate::future::ResponseFuture).
    pub type ResponseFuture<S, Request, A, F = AsError, K = Bucket> =
        crate::limit::engine::ResponseFuture<
            S,
            Request,
            Arc<Callers<K>>,
            F,
            <A as Settle>::ReleasePolicy<<F as Face<K>>::ReleasePolicy>,
        >;
}
