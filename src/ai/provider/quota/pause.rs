//! Pauses all requests after a rejection by the provider.

use std::time::Duration;

use crate::limit::{Decision, nanos};

/// The first wait if the provider named none. It doubles each time, up to `LONGEST`.
const FIRST: u64 = 500_000_000;
const LONGEST_GUESS: u64 = 30_000_000_000;

/// The longest pause. After it one request is sent as a probe.
const LONGEST: u64 = 600_000_000_000;

/// How long the others wait for the response to the probe.
const LONGEST_ANSWER: u64 = 5_000_000_000;

const LEAST_SPREAD: u64 = 100_000_000;
const MOST_SPREAD: u64 = 2_000_000_000;

/// The current pause and the restart after it.
#[derive(Debug, Default)]
pub(crate) struct Pause {
    /// When the current pause began. Rejections of requests sent before then belong to it.
    began: Option<u64>,
    until: u64,
    /// The number of successive pauses for which the provider named no wait.
    guesses: u32,
    /// Until then, requests start with random gaps of this average; a gap of 0 spreads them evenly.
    spread_until: u64,
    gap: u64,
    next: u64,
    asks: Asks,
    /// What began since other processes were last told, without the jitter.
    begun: Option<Duration>,
    random: u64,
}

/// Whether a pause was cut short, so that one request has to probe whether it is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Asks {
    #[default]
    No,
    /// The next request that starts is the probe.
    Next,
    /// The probe was sent, and the others wait for its response.
    Sent,
}

// ===== impl Pause =====

impl Pause {
    /// `seed` lets two processes end their pauses at different instants.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            random: seed | 1,
            ..Self::default()
        }
    }

    pub(super) fn due(&self, now: u64) -> Decision {
        let start = self.until.max(self.next.min(self.spread_until));
        Decision::after(start.saturating_sub(now))
    }

    /// Returns the nanoseconds until the pause is over.
    pub(super) fn remaining(&self, now: u64) -> u64 {
        self.until.saturating_sub(now)
    }

    /// Handles the start of a request while `waiting` are queued.
    pub(super) fn started(&mut self, waiting: u64, now: u64) {
        if self.asks == Asks::Next {
            self.asks = Asks::Sent;
            self.next = now.saturating_add(LONGEST_ANSWER);
            self.spread_until = self.spread_until.max(now).saturating_add(LONGEST_ANSWER);
        } else if now < self.spread_until {
            self.asks = Asks::No;
            let gap = match self.gap {
                0 => (self.spread_until - now) / (waiting + 1),
                gap => gap,
            };
            let gap = self.chance(2 * gap);
            self.next = now.saturating_add(gap);
        }
    }

    /// Begins a pause after the rejection of a request sent at `sent`; `wait` is the time that the
    /// provider asked for.
    ///
    /// Rejections of requests that were in flight when the pause began belong to it: they may
    /// extend it but do not add up.
    pub(super) fn begin(&mut self, sent: u64, wait: Option<Duration>, now: u64) {
        let is_new = self.began.is_none_or(|began| sent > began);
        if is_new {
            self.began = Some(now);
        }
        let is_cut = wait.is_some_and(|wait| nanos(wait) > LONGEST);
        let wait = match wait {
            Some(wait) => nanos(wait).min(LONGEST),
            None if is_new => {
                let guess = FIRST.saturating_mul(1 << self.guesses.min(16));
                self.guesses += 1;
                guess.min(LONGEST_GUESS)
            }
            None => return,
        };
        self.begun = self.begun.max(Some(Duration::from_nanos(wait)));
        self.wait(wait, is_cut, now);
    }

    /// Begins a pause that another process has begun, unless it is over by the end of ours.
    #[cfg(feature = "redis")]
    pub(crate) fn begin_with_others(&mut self, paused: Duration, now: u64) {
        let wait = nanos(paused);
        if wait > 0 && now.saturating_add(wait) > self.until {
            // Rejections of requests in flight belong to it.
            self.began = Some(now);
            self.wait(wait, false, now);
        }
    }

    /// Returns the pause that has begun since the last call, without the jitter.
    #[cfg(feature = "redis")]
    pub(crate) fn take_begun(&mut self) -> Option<Duration> {
        self.begun.take()
    }

    fn wait(&mut self, wait: u64, is_cut: bool, now: u64) {
        let jitter = self.chance(wait / 10);
        let until = now.saturating_add(wait).saturating_add(jitter);
        if until > self.until {
            let spread = (wait / 2).clamp(LEAST_SPREAD, MOST_SPREAD);
            self.ease(until, spread, 0);
            let has_to_ask = is_cut || self.asks == Asks::Next;
            self.asks = if has_to_ask { Asks::Next } else { Asks::No };
        }
    }

    /// Spaces the requests that start after `until`: random gaps of `gap` on average, for a time of
    /// `spread`.
    pub(super) fn ease(&mut self, until: u64, spread: u64, gap: u64) {
        self.until = self.until.max(until);
        self.spread_until = self.until.saturating_add(spread);
        self.gap = gap;
        self.next = self.until;
    }

    /// Handles a successful response to the request sent at `sent`.
    pub(super) fn succeeded(&mut self, sent: u64) {
        if self.began.is_some_and(|began| sent > began) {
            self.guesses = 0;
            if self.asks == Asks::Sent {
                self.asks = Asks::No;
                self.next = self.until;
            }
        }
    }

    /// Returns a random number below `most`: xorshift, good enough to keep clients apart.
    fn chance(&mut self, most: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        ((u128::from(self.random) * u128::from(most)) >> 64) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_are_spread_after_the_longest_pause() {
        for wait in [LONGEST, 2 * LONGEST] {
            let ends = (0..20_u64).map(|seed| {
                let mut pause = Pause::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                pause.begin(0, Some(Duration::from_nanos(wait)), 1);
                pause.remaining(1)
            });
            let ends: std::collections::BTreeSet<_> = ends.collect();
            assert_eq!(ends.len(), 20);
            assert!(
                ends.iter()
                    .all(|end| *end >= LONGEST && *end <= LONGEST / 10 * 11)
            );
        }
    }
}
