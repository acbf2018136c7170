//! Tower layers that keep a caller inside a rate limit.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod carry;
mod clock;
pub mod cost;
mod decision;
mod message;
mod quota;
mod rejected;
mod sync;

pub use self::{
    carry::{Carry, Guarded},
    clock::Clock,
    cost::Cost,
    decision::Decision,
    message::{RequestHead, ResponseHead, TryClone},
    quota::{InvalidQuota, Quota},
    rejected::{BoxError, Limit, Reason, Rejected},
};
