//! Sliding window middleware: limits how many requests start within any period.
//!
//! In no stretch of the period's length, at whatever offset, do more units start than the quota
//! has. It is the limit that most APIs state, such as "500 requests a minute", taken literally: all
//! of it may be used at once, and then nothing until the first of those requests is a period old.
//!
//! # Examples
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), tower_throttle::BoxError> {
//! use std::{convert::Infallible, time::Duration};
//! use tokio::time::Instant;
//! use tower::{Service, ServiceBuilder, ServiceExt, service_fn};
//! use tower_throttle::{Quota, SlidingWindowLayer};
//!
//! let mut client = ServiceBuilder::new()
//!     .layer(SlidingWindowLayer::new(Quota::per_minute(2).margin(Duration::from_millis(50))))
//!     .service(service_fn(async |prompt: &'static str| Ok::<_, Infallible>(prompt.len())));
//!
//! let start = Instant::now();
//! for prompt in ["at once", "at once as well", "a minute and a margin later"] {
//!     client.ready().await?.call(prompt).await?;
//! }
//! assert_eq!(start.elapsed(), Duration::from_millis(60_050));
//! # Ok(())
//! # }
//! ```
//!
//! # Guarantees
//!
//! The promise holds for the instants at which requests start here. The server counts them as they
//! arrive: give the quota a [`margin`](crate::Quota::margin) as large as the spread of the network,
//! or expect a 429 now and then. A layer further in that makes requests wait breaks the promise as
//! well, so this one belongs next to the client.
//!
//! Waiting requests start in first-come, first-served order within a [`Priority`](crate::Priority),
//! whatever they cost. The first one also waits for its inner service before it is counted, and the
//! others behind it. A queue of many short periods is served up to a millisecond later in each of
//! them than expected, as timers tick; so a request with a `max_wait` may be rejected at the end of
//! it, and not at once.
//!
//! # What is shared
//!
//! A layer has one limiter. Each service that it makes and each clone of those share it, and so
//! does every layer made
//! [from](SlidingWindowLayer#impl-From<SlidingWindowLimiter>-for-SlidingWindowLayer) the same
//! [`SlidingWindowLimiter`].
//!
//! # Performance
//!
//! Quotas of up to 4,096 units keep the start of each unit, 8 bytes each, and are exact. Larger
//! ones keep 257 sums, 2 KiB whatever the quota, and hold a unit for up to 0.4 % of the period (and
//! 256 ns) too long, never too short. A request that is admitted at once takes no lock and
//! allocates nothing; in a quota of up to 4,096 it writes 8 bytes for each unit that it costs. One
//! that waits allocates its place in the queue. One timer runs for the whole queue, and one for
//! each request with a [`max_wait`](SlidingWindowLayer::max_wait). Once the quota was
//! [changed](SlidingWindowLimiter::set_quota), each request takes a short lock; requests that
//! are older than a shorter period then no longer count, even if a longer one follows.

#[doc(no_inline)]
pub use crate::limit::engine::Permit;
use crate::{error::LimitKind, limit::engine::rate_limit};

rate_limit! {
    crate::limit::algorithm::sliding_window::SlidingCount, LimitKind::SlidingWindow, window;

    /// A sliding window without a service. Clones share the window.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), tower_throttle::Rejected> {
    /// use std::time::Duration;
    /// use tower_throttle::{Quota, SlidingWindowLimiter};
    ///
    /// let limiter = SlidingWindowLimiter::new(Quota::per_second(5));
    /// limiter.try_acquire(5)?;
    /// let rejected = limiter.try_acquire(1).unwrap_err();
    /// assert_eq!(rejected.retry_after(), Some(Duration::from_secs(1)));
    /// assert!(limiter.try_acquire(6).unwrap_err().exceeds_capacity());
    /// limiter.acquire(1).await?;
    /// # Ok(())
    /// # }
    /// ```
    limiter SlidingWindowLimiter;

    /// Layer that limits how many requests start within any period. See the [module
    /// docs](crate::sliding_window) for an example.
    #[doc(alias("rate limit", "throttle", "rolling window", "governor", "429"))]
    layer SlidingWindowLayer;

    /// A service of which only so many requests start within any period. See the
    /// [module docs](crate::sliding_window) for an example.
    service SlidingWindow;
}
