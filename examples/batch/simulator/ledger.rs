//! The limits, counted exactly. Sums only: whoever asks says what time it is.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

use super::{Limits, Outage};

/// Who was let in within the last window, and who is inside.
#[derive(Debug)]
pub(crate) struct Ledger {
    requests: Option<u64>,
    tokens: Option<u64>,
    concurrent: Option<usize>,
    window: Duration,
    outage: Option<Outage>,
    /// Told to those who are refused because too many are in flight: by then one will have left.
    latency: Duration,
    born: Option<Instant>,
    /// The arrival and the tokens of everyone who was let in within the last window, oldest first.
    accepted: VecDeque<(Instant, u64)>,
    /// Everyone who came within the last window, refused or not.
    arrivals: VecDeque<Instant>,
    in_flight: usize,
    counters: Counters,
}

/// What a provider has seen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    /// Requests that were let in.
    pub(crate) accepted: u64,
    /// Requests that were answered with 429.
    pub(crate) refused: u64,
    /// Requests that were answered with 503, because the provider was down.
    pub(crate) unavailable: u64,
    /// The most that were in flight at once.
    pub(crate) max_in_flight: usize,
    /// The most that came in any one window, refused or not.
    pub(crate) worst_window: usize,
}

/// Why a request was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A limit is reached.
    Limited {
        /// The limit.
        dimension: Dimension,
        /// When there will be room for this request, if nobody else takes it.
        retry_after: Duration,
    },
    /// The request needs more tokens than a window has.
    TooLarge,
    /// The provider is down.
    Down,
}

/// What is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dimension {
    Requests,
    Tokens,
    Concurrent,
}

/// What is left of the limits, for the headers of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) requests: Option<Left>,
    pub(crate) tokens: Option<Left>,
}

/// What is left of one limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Left {
    pub(crate) limit: u64,
    pub(crate) remaining: u64,
    /// When the whole limit is there again.
    pub(crate) reset: Duration,
}

// ===== impl Ledger =====

impl Ledger {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            requests: limits.requests,
            tokens: limits.tokens,
            concurrent: limits.concurrent,
            window: limits.window,
            outage: limits.outage,
            latency: limits.latency,
            born: None,
            accepted: VecDeque::new(),
            arrivals: VecDeque::new(),
            in_flight: 0,
            counters: Counters::default(),
        }
    }

    /// Lets a request in that arrives `now` and takes so many `tokens`, or says why not.
    pub(crate) fn arrive(&mut self, now: Instant, tokens: u64) -> Result<(), Refusal> {
        self.forget(now);
        self.arrivals.push_back(now);
        self.counters.worst_window = self.counters.worst_window.max(self.arrivals.len());
        let born = *self.born.get_or_insert(now);
        if self.outage.is_some_and(|outage| outage.covers(now - born)) {
            self.counters.unavailable += 1;
            return Err(Refusal::Down);
        }
        if let Err(refusal) = self.check(now, tokens) {
            self.counters.refused += 1;
            return Err(refusal);
        }
        self.accepted.push_back((now, tokens));
        self.in_flight += 1;
        self.counters.accepted += 1;
        self.counters.max_in_flight = self.counters.max_in_flight.max(self.in_flight);
        Ok(())
    }

    /// One who was let in has had the whole answer.
    pub(crate) fn leave(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    pub(crate) fn standing(&self, now: Instant) -> Standing {
        let newest = self.accepted.back();
        let reset = newest.map_or(Duration::ZERO, |(at, _)| self.until_gone(*at, now));
        let left = |limit: u64, used: u64| Left {
            limit,
            remaining: limit.saturating_sub(used),
            reset,
        };
        Standing {
            requests: self.requests.map(|n| left(n, self.accepted.len() as u64)),
            tokens: self.tokens.map(|n| left(n, self.used_tokens())),
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    fn check(&self, now: Instant, tokens: u64) -> Result<(), Refusal> {
        if self.tokens.is_some_and(|limit| tokens > limit) {
            return Err(Refusal::TooLarge);
        }
        let requests = self.requests.and_then(|limit| {
            let over = (self.accepted.len() as u64 + 1).checked_sub(limit)?;
            Some((Dimension::Requests, self.until_free(now, over, |_| 1)?))
        });
        let used = self.tokens.and_then(|limit| {
            let over = (self.used_tokens() + tokens).checked_sub(limit)?;
            let wait = self.until_free(now, over, |tokens| tokens)?;
            Some((Dimension::Tokens, wait))
        });
        let concurrent = self
            .concurrent
            .filter(|limit| self.in_flight >= *limit)
            .map(|_| (Dimension::Concurrent, self.latency));
        let longest = [requests, used, concurrent]
            .into_iter()
            .flatten()
            .max_by_key(|(_, wait)| *wait);
        longest.map_or(Ok(()), |(dimension, retry_after)| {
            Err(Refusal::Limited {
                dimension,
                retry_after,
            })
        })
    }

    /// How long until the oldest of those who were let in have given back `units`; `None` if none are needed.
    fn until_free(&self, now: Instant, units: u64, of: impl Fn(u64) -> u64) -> Option<Duration> {
        let mut freed = 0;
        let last = self.accepted.iter().find(|(_, tokens)| {
            freed += of(*tokens);
            freed >= units
        });
        let until = last.map_or(self.window, |(at, _)| self.until_gone(*at, now));
        (units > 0).then_some(until)
    }

    fn until_gone(&self, at: Instant, now: Instant) -> Duration {
        (at + self.window).saturating_duration_since(now)
    }

    fn used_tokens(&self) -> u64 {
        self.accepted.iter().map(|(_, tokens)| tokens).sum()
    }

    fn forget(&mut self, now: Instant) {
        let gone = |at: Instant| at + self.window <= now;
        while self.accepted.front().is_some_and(|(at, _)| gone(*at)) {
            self.accepted.pop_front();
        }
        while self.arrivals.front().is_some_and(|at| gone(*at)) {
            self.arrivals.pop_front();
        }
    }
}
