//! Token bucket middleware: limits the rate at which requests start, with a burst.
//!
//! A bucket holds [`burst`](crate::Quota::burst) units and refills evenly, one unit every
//! `period / units`. A request takes its cost out of it, or waits until that much is there.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, time::Duration};
//! use tokio::time::Instant;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{Quota, TokenBucketLayer};
//!
//! let mut client = ServiceBuilder::new()
//!     .layer(TokenBucketLayer::new(Quota::per_minute(60).burst(2)))
//!     .service(service_fn(async |prompt: &'static str| Ok::<_, Infallible>(prompt.len())));
//!
//! let start = Instant::now();
//! for prompt in ["at once", "at once as well", "a second later"] {
//!     client.ready().await?.call(prompt).await?;
//! }
//! assert_eq!(start.elapsed(), Duration::from_secs(1));
//! # Ok(())
//! # }
//! ```
//!
//! In front of a server, responding 429 instead of waiting:
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), std::convert::Infallible> {
//! use std::convert::Infallible;
//! use http::{Request, Response, StatusCode};
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{Quota, TokenBucketLayer};
//!
//! let mut server = ServiceBuilder::new()
//!     .layer(TokenBucketLayer::new(Quota::per_minute(10)).respond())
//!     .service(service_fn(async |_: Request<()>| {
//!         Ok::<_, Infallible>(Response::new(String::from("hello")))
//!     }));
//!
//! for _ in 0..10 {
//!     assert_eq!(server.ready().await?.call(Request::new(())).await?.status(), StatusCode::OK);
//! }
//! let rejected = server.ready().await?.call(Request::new(())).await?;
//! assert_eq!(rejected.status(), StatusCode::TOO_MANY_REQUESTS);
//! assert_eq!(rejected.headers()["retry-after"], "6");
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! At most `burst + units × (time + 10 ms) / period` units start in any stretch of time. The
//! 10 ms are for requests that waited: a queue drains at the full rate even if that is faster than
//! a timer ticks, so what a late timer has missed, up to 10 ms of the rate, starts at once when it
//! fires. Requests that did not wait never get more than the burst.
//!
//! Waiting requests start in first-come, first-served order within a [`Priority`](crate::Priority),
//! whatever they cost: small requests behind a large one wait for it. The first one also waits for
//! its inner service before it is counted, and the others behind it.
//!
//! If the server counts in windows, a [`SlidingWindow`](crate::SlidingWindow) is the better match.
//!
//! # What is shared
//!
//! A layer has one limiter. Each service that it makes and each clone of those share it, and so
//! does every layer made
//! [from](TokenBucketLayer#impl-From<TokenBucketLimiter>-for-TokenBucketLayer) the same
//! [`TokenBucketLimiter`].
//!
//! # Performance
//!
//! The bucket is one number of 64 bits, whatever the quota. A request that is admitted at once
//! reads the clock and changes that number; it takes no lock and allocates nothing. One that waits
//! allocates its place in the queue. One timer runs for the whole queue, and one for each request
//! with a [`max_wait`](TokenBucketLayer::max_wait).

pub use crate::limit::engine::Permit;
use crate::{error::LimitKind, limit::engine::rate_limit};

rate_limit! {
    crate::limit::algorithm::gcra::Gcra, LimitKind::TokenBucket, bucket;

    /// A token bucket without a service. Clones share the bucket.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), tower_throttle::Rejected> {
    /// use std::time::Duration;
    /// use tower_throttle::{Quota, TokenBucketLimiter};
    ///
    /// let limiter = TokenBucketLimiter::new(Quota::per_second(10).burst(5));
    /// limiter.try_acquire(5)?;
    /// let rejected = limiter.try_acquire(2).unwrap_err();
    /// assert_eq!(rejected.retry_after(), Some(Duration::from_millis(200)));
    /// assert!(limiter.try_acquire(6).unwrap_err().exceeds_capacity());
    /// limiter.acquire(2).await?;
    /// # Ok(())
    /// # }
    /// ```
    limiter TokenBucketLimiter;

    /// Layer that limits the rate at which requests start. See the [module
    /// docs](crate::token_bucket) for an example.
    #[doc(alias("rate limit", "throttle", "leaky bucket", "governor", "429"))]
    layer TokenBucketLayer;

    /// A service whose requests start at a limited rate. See the [module docs](crate::token_bucket)
    /// for an example.
    service TokenBucket;
}
