//! A client's rate limit state, as written to headers.

use std::time::Duration;

/// A client's state of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    /// The name of the limit in the response.
    pub(crate) name: &'a str,
    /// The quota per window.
    pub(crate) quota: u64,
    /// The period of the quota.
    pub(crate) window: Duration,
    pub(crate) remaining: u64,
    /// The time until the quota is restored in full.
    pub(crate) reset: Duration,
}

/// A client's state of each limit when a request was rejected.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standings {
    /// The cost of the request.
    pub(crate) cost: u64,
    pub(crate) all: Vec<Standing<'static>>,
}
