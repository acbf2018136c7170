//! What the limiters share: the service, its future, and the queue.
//!
//! ```text
//! call ─▶ enter ─┬─ admitted ─────────────────────────────────────▶ the ready instance is called
//!                ├─ in time ─▶ QueuedCall: head of the queue ▶ due ▶ a clone is ready ▶ take
//!                └─ never, or too long a wait ─▶ Rejected
//! ```

mod future;
mod limiter;
mod queued_call;
mod rate;
mod release_policy;
mod service;
mod wait_queue;

#[cfg_attr(not(feature = "per-key"), allow(unreachable_pub))]
pub use self::limiter::Prioritized;
#[cfg(feature = "provider")]
pub(crate) use self::queued_call::{QueuedCall, Stopped};
pub use self::{
    future::ResponseFuture,
    rate::Permit,
    release_policy::{ReleasePolicy, UntilBodyEnd, UntilResponse},
};
pub(crate) use self::{
    limiter::{LimitKey, Limiter, Measure, acquire},
    rate::RateLimiter,
    service::Limited,
    wait_queue::{Patience, WaitLimits, WaitQueue, Waiter},
};
pub(crate) use super::rate_limit::{forward, rate_limit, rejections, wait_limits};
