//! All limits, counted exactly. The caller passes the time.

mod counters;
mod dimension;
#[cfg(test)]
mod properties;

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

pub(crate) use self::{counters::Counters, dimension::Dimension};
use super::{
    allowance::{self, Allowance, Left, Room, Taken},
    chaos::Mishap,
    limits::{Kind, Limits},
    style::Counting,
    tokens::{Tokens, per_mille},
};

/// How late a response may end, as timers tick once a millisecond.
const LATENESS: Duration = Duration::from_millis(5);

/// The state of all limits, and what happened so far.
#[derive(Debug)]
pub(crate) struct Ledger {
    limits: Limits,
    accounts: Vec<Account>,
    born: Option<Instant>,
    /// All requests of the last window, rejected or not.
    arrivals: VecDeque<Instant>,
    in_flight: usize,
    counters: Counters,
    /// What was left, oldest first: what is older than the headers is forgotten.
    reports: VecDeque<(Instant, Standing)>,
    /// For how many hundredths of a window the other users of the key have taken their share.
    shares: u64,
}

/// One limit.
#[derive(Debug)]
struct Account {
    dimension: Dimension,
    /// The limit, unless it is scaled.
    full: u64,
    allowance: Box<dyn Allowance>,
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
                allowance: allowance::new(kind, full, window),
            })
        };
        Self {
            accounts: accounts.into_iter().filter_map(account).collect(),
            limits: limits.clone(),
            born: None,
            arrivals: VecDeque::new(),
            in_flight: 0,
            counters: Counters::default(),
            reports: VecDeque::new(),
            shares: 0,
        }
    }

    /// Admits a request that arrives `now` and may use this many tokens, or returns why not.
    pub(crate) fn arrive(&mut self, now: Instant, tokens: Tokens) -> Result<Admission, Rejection> {
        self.log(now);
        self.take_shares(now);
        let checked = self.check(now, tokens);
        checked.inspect_err(|refusal| self.refuse(now, refusal))?;
        self.in_flight += 1;
        self.counters.accept(tokens, self.in_flight);
        let counting = self.limits.style.counting;
        let take = |account: &mut Account| {
            let units = account.dimension.held(counting, tokens);
            account.allowance.take(now, units)
        };
        Ok(Admission {
            taken: self.accounts.iter_mut().map(take).collect(),
        })
    }

    fn refuse(&mut self, now: Instant, refusal: &Rejection) {
        self.counters.refuse(refusal);
        let counts = self.limits.counts_rejected && *refusal != Rejection::Down;
        for account in self.accounts.iter_mut().filter(|_| counts) {
            if account.dimension.is_of_requests() {
                let _: Taken = account.allowance.take(now, 1);
            }
        }
    }

    /// Lets the other users of the key take their share of the limits per window, evenly spread, and
    /// whether there is room or not: they come again. After a pause they take the share of one window.
    fn take_shares(&mut self, now: Instant) {
        let age = now - *self.born.get_or_insert(now);
        let due = age.as_nanos() * 100 / self.limits.window.as_nanos().max(1);
        let due = u64::try_from(due).unwrap_or(u64::MAX);
        let before = self.shares.max(due.saturating_sub(100));
        for account in &mut self.accounts {
            let by = |time: u64| account.full.saturating_mul(self.limits.others * time) / 10_000;
            let units = by(due) - by(before);
            if units > 0 && account.dimension != Dimension::RequestsPerDay {
                let _: Taken = account.allowance.take(now, units);
            }
        }
        self.shares = due;
    }

    /// The response to an admitted request has ended, or its client has left, and this many tokens
    /// were used.
    pub(crate) fn end(&mut self, now: Instant, admission: &Admission, used: Tokens) {
        self.in_flight = self.in_flight.saturating_sub(1);
        self.counters.used_tokens = self.counters.used_tokens.saturating_add(used.total());
        if self.limits.style.counting == Counting::Reserved {
            return;
        }
        for (account, taken) in self.accounts.iter_mut().zip(&admission.taken) {
            let held = account.dimension.held(self.limits.style.counting, used);
            account.allowance.settle(now, taken, held);
            let added = account.dimension.added(self.limits.style.counting, used);
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
            let held = account
                .dimension
                .held(self.limits.style.counting, Tokens::default());
            account.allowance.settle(now, taken, held);
        }
    }

    /// Counts the mishap of an admitted request.
    pub(crate) fn count(&mut self, mishap: Mishap) {
        self.counters.met[mishap as usize] += 1;
    }

    pub(crate) fn standing(&mut self, now: Instant) -> Standing {
        let mut left = |dimension| {
            let account = self
                .accounts
                .iter_mut()
                .find(|it| it.dimension == dimension)?;
            Some(account.allowance.left(now))
        };
        Standing {
            requests: left(Dimension::Requests),
            tokens: left(Dimension::Tokens),
            input_tokens: left(Dimension::InputTokens),
            output_tokens: left(Dimension::OutputTokens),
        }
    }

    /// What the headers of a response say is left, which may be old.
    pub(crate) fn report(&mut self, now: Instant) -> Standing {
        let standing = self.standing(now);
        self.reports.push_back((now, standing));
        let is_old = |(at, _): &(Instant, _)| now - *at >= self.limits.staleness;
        while self.reports.get(1).is_some_and(is_old) {
            self.reports.pop_front();
        }
        self.reports.front().map_or(standing, |(_, old)| *old)
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

    /// Whether the provider is up and all limits have room, or else the limit that has room last.
    fn check(&mut self, now: Instant, tokens: Tokens) -> Result<(), Rejection> {
        let age = now - *self.born.get_or_insert(now);
        if self.limits.outage.is_some_and(|outage| outage.covers(age)) {
            return Err(Rejection::Down);
        }
        let concurrent = self.limits.concurrent;
        let is_full = concurrent.is_some_and(|limit| self.in_flight >= limit);
        // By then a request in flight has ended.
        let latency = self.limits.latency.max(self.limits.longest_latency);
        let wait = latency.saturating_add(LATENESS);
        let mut longest = is_full.then_some((Dimension::Concurrent, wait));
        for account in &mut self.accounts {
            let dimension = account.dimension;
            let units = dimension.held(self.limits.style.counting, tokens);
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
        let gone = |at: &Instant| now.saturating_duration_since(*at) >= self.limits.window;
        while self.arrivals.front().is_some_and(gone) {
            self.arrivals.pop_front();
        }
        self.arrivals.push_back(now);
        self.counters.worst_window = self.counters.worst_window.max(self.arrivals.len());
    }
}
