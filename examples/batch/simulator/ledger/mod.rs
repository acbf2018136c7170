//! All limits, counted exactly. The caller passes the time.

mod counters;
mod dimension;
#[cfg(test)]
mod model;

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

pub(crate) use self::{counters::Counters, dimension::Dimension};
use super::{
    allowance::{Allowance, Left, Room, Taken},
    chaos::Mishap,
    limits::{Kind, Limits, Outage},
    style::Counting,
    tokens::{Tokens, per_mille},
};

/// How late a response may end, as timers tick once a millisecond.
const LATENESS: Duration = Duration::from_millis(5);

/// The state of all limits, and what happened so far.
#[derive(Debug)]
pub(crate) struct Ledger {
    accounts: Vec<Account>,
    counting: Counting,
    concurrent: Option<usize>,
    window: Duration,
    outage: Option<Outage>,
    /// The wait for a request that too many in flight reject: by then one of them has ended.
    latency: Duration,
    born: Option<Instant>,
    /// All requests of the last window, rejected or not.
    arrivals: VecDeque<Instant>,
    in_flight: usize,
    counters: Counters,
}

/// One limit.
#[derive(Debug)]
struct Account {
    dimension: Dimension,
    /// The limit, unless it is scaled.
    full: u64,
    allowance: Allowance,
}

/// What an admitted request has taken. Returned to the ledger at the end of its response.
#[derive(Debug)]
#[must_use]
pub(crate) struct Admission {
    /// Of each account.
    taken: Vec<Taken>,
}

/// Why a request was not admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// A limit is reached.
    Limited {
        /// The limit.
        dimension: Dimension,
        /// When there will be room for this request, if no other takes it.
        retry_after: Duration,
    },
    /// The request needs more than the whole of this limit.
    TooLarge(Dimension),
    /// The provider is down.
    Down,
}

/// What is left of the limits, for the headers of a response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standing {
    pub(crate) requests: Option<Left>,
    pub(crate) tokens: Option<Left>,
    pub(crate) input_tokens: Option<Left>,
    pub(crate) output_tokens: Option<Left>,
}

// ===== impl Ledger =====

impl Ledger {
    pub(crate) fn new(limits: &Limits) -> Self {
        let accounts = [
            (Dimension::Requests, limits.requests),
            (Dimension::RequestsPerDay, limits.requests_per_day),
            (Dimension::Tokens, limits.tokens),
            (Dimension::InputTokens, limits.input_tokens),
            (Dimension::OutputTokens, limits.output_tokens),
        ];
        let account = |(dimension, limit): (_, Option<u64>)| {
            let (kind, window) = match dimension {
                Dimension::RequestsPerDay => (Kind::Window, limits.day),
                _ => (limits.kind, limits.window),
            };
            limit.map(|full| Account {
                dimension,
                full,
                allowance: Allowance::new(kind, full, window),
            })
        };
        Self {
            accounts: accounts.into_iter().filter_map(account).collect(),
            counting: limits.style.counting,
            concurrent: limits.concurrent,
            window: limits.window,
            outage: limits.outage,
            latency: limits.latency,
            born: None,
            arrivals: VecDeque::new(),
            in_flight: 0,
            counters: Counters::default(),
        }
    }

    /// Admits a request that arrives `now` and may use this many tokens, or returns why not.
    pub(crate) fn arrive(&mut self, now: Instant, tokens: Tokens) -> Result<Admission, Rejection> {
        self.log(now);
        let born = *self.born.get_or_insert(now);
        let down = self.outage.is_some_and(|outage| outage.covers(now - born));
        let checked = if down {
            Err(Rejection::Down)
        } else {
            self.check(now, tokens)
        };
        if let Err(refusal) = checked {
            self.counters.refuse(&refusal);
            return Err(refusal);
        }
        self.in_flight += 1;
        self.counters.accept(tokens, self.in_flight);
        let counting = self.counting;
        let take = |account: &mut Account| {
            let units = account.dimension.held(counting, tokens);
            account.allowance.take(now, units)
        };
        Ok(Admission {
            taken: self.accounts.iter_mut().map(take).collect(),
        })
    }

    /// The response to an admitted request has ended, or its client has left, and this many tokens
    /// were used.
    pub(crate) fn end(&mut self, now: Instant, admission: &Admission, used: Tokens) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.counters.end(used);
        if self.counting == Counting::Reserved {
            return;
        }
        for (account, taken) in self.accounts.iter_mut().zip(&admission.taken) {
            let held = account.dimension.held(self.counting, used);
            account.allowance.settle(now, taken, held);
            let added = account.dimension.added(self.counting, used);
            if added > 0 {
                // It is never settled.
                let _: Taken = account.allowance.take(now, added);
            }
        }
    }

    /// An admitted request got no response: it counts as a request, and its tokens do not.
    pub(crate) fn forgive(&mut self, now: Instant, admission: &Admission) {
        self.in_flight = self.in_flight.saturating_sub(1);
        for (account, taken) in self.accounts.iter_mut().zip(&admission.taken) {
            let held = account.dimension.held(self.counting, Tokens::default());
            account.allowance.settle(now, taken, held);
        }
    }

    /// Counts the mishap of an admitted request.
    pub(crate) fn count(&mut self, mishap: Mishap) {
        self.counters.count(mishap);
    }

    pub(crate) fn standing(&mut self, now: Instant) -> Standing {
        let mut standing = Standing::default();
        for account in &mut self.accounts {
            let place = match account.dimension {
                Dimension::Requests => &mut standing.requests,
                Dimension::Tokens => &mut standing.tokens,
                Dimension::InputTokens => &mut standing.input_tokens,
                Dimension::OutputTokens => &mut standing.output_tokens,
                Dimension::RequestsPerDay | Dimension::Concurrent => continue,
            };
            *place = Some(account.allowance.left(now));
        }
        standing
    }

    /// Sets all limits, except for requests in flight, to `share` thousandths of their initial
    /// values.
    pub(crate) fn scale(&mut self, now: Instant, share: u64) {
        for account in &mut self.accounts {
            let limit = per_mille(account.full, share);
            account.allowance.set_limit(now, limit);
        }
    }

    pub(crate) fn counters(&self) -> Counters {
        self.counters
    }

    /// Whether all limits have room, or else the one that has room last.
    fn check(&mut self, now: Instant, tokens: Tokens) -> Result<(), Rejection> {
        let mut longest = self
            .concurrent
            .filter(|limit| self.in_flight >= *limit)
            .map(|_| {
                let wait = self.latency.saturating_add(LATENESS);
                (Dimension::Concurrent, wait)
            });
        for account in &mut self.accounts {
            let dimension = account.dimension;
            let units = dimension.held(self.counting, tokens);
            match account.allowance.room(now, units) {
                Room::Now => {}
                Room::In(wait) if longest.is_some_and(|(_, most)| most > wait) => {}
                Room::In(wait) => longest = Some((dimension, wait)),
                Room::Never => return Err(Rejection::TooLarge(dimension)),
            }
        }
        longest.map_or(Ok(()), |(dimension, retry_after)| {
            Err(Rejection::Limited {
                dimension,
                retry_after,
            })
        })
    }

    fn log(&mut self, now: Instant) {
        let gone = |at: &Instant| now.saturating_duration_since(*at) >= self.window;
        while self.arrivals.front().is_some_and(gone) {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
        self.counters.worst_window = self.counters.worst_window.max(self.arrivals.len());
    }
}
