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
    cost: u64,
    all: Vec<Standing<'static>>,
}

// ===== impl Standings =====

impl Standings {
    /// Creates an empty list for a request of this cost.
    pub(crate) fn new(cost: u64) -> Self {
        let all = Vec::new();
        Self { cost, all }
    }

    pub(crate) fn push(&mut self, standing: Standing<'static>) {
        self.all.push(standing);
    }

    pub(crate) fn all(&self) -> &[Standing<'static>] {
        &self.all
    }

    /// Returns the limits that had no room for the request.
    pub(crate) fn short(&self) -> impl Iterator<Item = &Standing<'static>> {
        self.all
            .iter()
            .filter(|standing| standing.remaining < self.cost)
    }
}
