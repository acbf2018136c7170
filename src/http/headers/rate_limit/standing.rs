//! Where a client stands with its limits, as headers tell it.

use std::time::Duration;

/// Where a caller stands with one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing<'a> {
    /// What an answer calls the limit.
    pub(crate) name: &'a str,
    /// The most that may start at once.
    pub(crate) quota: u64,
    /// The time that the quota is for.
    pub(crate) window: Duration,
    pub(crate) remaining: u64,
    /// How long until all of it is there again.
    pub(crate) reset: Duration,
}

/// Where a caller stood with each of its limits when a request was refused.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Standings {
    cost: u64,
    all: Vec<Standing<'static>>,
}

// ===== impl Standings =====

impl Standings {
    /// None yet, for a request that cost as much.
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

    /// Those that had no room for the request.
    pub(crate) fn short(&self) -> impl Iterator<Item = &Standing<'static>> {
        self.all
            .iter()
            .filter(|standing| standing.remaining < self.cost)
    }
}
