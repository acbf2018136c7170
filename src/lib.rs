//! Tower layers that keep a caller inside a rate limit.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod algorithm;
mod carry;
mod clock;
pub mod concurrency;
pub mod cost;
mod decision;
pub mod fallback;
mod limit;
mod message;
mod quota;
pub mod refusal;
mod rejected;
pub mod sliding_window;
mod sync;
pub mod token_bucket;

pub use self::{
    carry::{Carry, Guarded},
    clock::Clock,
    concurrency::{Concurrency, ConcurrencyLayer, ConcurrencyLimiter},
    cost::Cost,
    decision::Decision,
    fallback::{Fallback, FallbackLayer},
    message::{RequestHead, ResponseHead, TryClone},
    quota::{InvalidQuota, Quota},
    rejected::{BoxError, Limit, Reason, Rejected},
    sliding_window::{SlidingWindow, SlidingWindowLayer, SlidingWindowLimiter},
    token_bucket::{TokenBucket, TokenBucketLayer, TokenBucketLimiter},
};

/// The response future that the limiters share.
pub mod future {
    pub use crate::limit::{Hold, ResponseFuture};
}
