//! Everything that admits requests or lets them wait.

pub(crate) mod algorithm;
pub(crate) mod clock;
pub mod concurrency;
pub mod cost;
pub(crate) mod decision;
pub(crate) mod engine;
#[cfg(feature = "per-key")]
pub mod key;
#[cfg(feature = "per-key")]
pub mod per_key;
pub(crate) mod priority;
pub(crate) mod quota;
mod rate_limit;
pub mod rejection;
pub mod sliding_window;
#[cfg(feature = "redis")]
pub(crate) mod store;
pub mod token_bucket;
pub(crate) mod usage;

#[cfg(feature = "provider")]
pub(crate) use self::decision::Decision;
pub(crate) use self::quota::nanos;
pub use self::{
    clock::Clock,
    cost::Cost,
    priority::{Prioritize, Priority, UniformPriority},
    quota::{InvalidQuota, Quota},
    usage::LimiterUsage,
};
