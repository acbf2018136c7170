//! Clients of a simulated provider that counts in its own way, in virtual time.

use std::{cmp::Reverse, collections::BinaryHeap, time::Duration};

use super::{super::QuotaTicket, Quotas, shaped};
use crate::{
    ai::{
        provider::{Provider, ThrottleReason},
        tokens::{TokenUsage, Tokens},
    },
    http::{Dimension, RateLimits, Reported},
};

pub(super) const MS: u64 = 1_000_000;
pub(super) const PERIOD: u64 = 60_000 * MS;
pub(super) const COST: u64 = 1_000;
pub(super) const USED: u64 = 800;

#[derive(Debug, Clone, Copy)]
pub(super) struct World {
    pub(super) is_bucket: bool,
    /// Whether unused tokens are returned when a response ends.
    pub(super) refunds: bool,
    pub(super) rounds: bool,
    pub(super) clients: usize,
    pub(super) workers: u64,
    pub(super) requests: u64,
    pub(super) tokens: u64,
    /// Latencies in milliseconds.
    pub(super) latency: (u64, u64),
}

impl World {
    /// Returns the limits in the headers of a response.
    pub(super) fn report(&self, requests: &Count, tokens: &Count) -> RateLimits {
        let mut told = RateLimits::default();
        for (dimension, count) in [(Dimension::Requests, requests), (Dimension::Tokens, tokens)] {
            let mut left = count.limit.saturating_sub(count.used());
            if self.rounds && dimension == Dimension::Tokens {
                left = (left + 500) / 1_000 * 1_000;
            }
            told.push(Reported {
                dimension,
                period: None,
                limit: Some(count.limit),
                remaining: Some(left),
                reset: Some(if self.is_bucket {
                    Duration::from_nanos(
                        (PERIOD as u128 * count.used() as u128 / count.limit as u128) as u64,
                    )
                } else {
                    Duration::from_nanos(PERIOD)
                }),
            });
        }
        told
    }
}

/// What the provider counts: units with their start, or the level of a bucket.
#[derive(Debug, Clone)]
pub(super) struct Count {
    pub(super) limit: u64,
    is_bucket: bool,
    starts: Vec<(u64, u64)>,
    level: f64,
    at: u64,
}

impl Count {
    pub(super) fn new(limit: u64, is_bucket: bool) -> Self {
        Self {
            limit,
            is_bucket,
            starts: Vec::new(),
            level: 0.0,
            at: 0,
        }
    }

    pub(super) fn advance(&mut self, now: u64) {
        let drained = self.limit as f64 * (now - self.at) as f64 / PERIOD as f64;
        self.level = (self.level - drained).max(0.0);
        self.at = now;
        self.starts.retain(|(at, _)| at + PERIOD > now);
    }

    pub(super) fn used(&self) -> u64 {
        if self.is_bucket {
            self.level.ceil() as u64
        } else {
            self.starts.iter().map(|(_, units)| units).sum()
        }
    }

    pub(super) fn take(&mut self, units: u64) {
        self.level += units as f64;
        self.starts.push((self.at, units));
    }

    pub(super) fn wait(&self, units: u64) -> Duration {
        let over = (self.used() + units).saturating_sub(self.limit);
        if self.is_bucket {
            return Duration::from_nanos(
                (u128::from(PERIOD) * u128::from(over) / u128::from(self.limit)) as u64,
            );
        }
        let mut gone = 0;
        for (at, units) in &self.starts {
            if gone >= over {
                break;
            }
            gone += units;
            if gone >= over {
                return Duration::from_nanos(at + PERIOD - self.at);
            }
        }
        Duration::ZERO
    }

    pub(super) fn give_back(&mut self, at: u64, units: u64) {
        self.level = (self.level - units as f64).max(0.0);
        if let Some(start) = self
            .starts
            .iter_mut()
            .find(|(start, left)| *start == at && *left >= units)
        {
            start.1 -= units;
        }
    }
}

struct Flight {
    ticket: QuotaTicket,
    client: usize,
    /// Its arrival, and the report that was made then.
    arrived: u64,
    told: RateLimits,
    is_rejected: bool,
    wait: Duration,
}

pub(super) struct Outcome {
    pub(super) elapsed: f64,
    rejected: f64,
}

#[allow(clippy::unwrap_used)]
pub(super) fn run(world: World, provider: Option<Provider>, periods: u64) -> Outcome {
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |most: u64| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed % most.max(1)
    };
    let mut requests = Count::new(world.requests, world.is_bucket);
    let mut tokens = Count::new(world.tokens, world.is_bucket);
    let mut clients: Vec<_> = (0..world.clients)
        .map(|n| {
            let mut quotas =
                Quotas::new(&provider.unwrap_or(Provider::new("ideal")), 7 + n as u64, 0);
            quotas.learn(provider.is_some(), 0);
            (quotas, 0_u64)
        })
        .collect();
    let each = if world.refunds { USED } else { COST };
    let per_period = world.requests.min(world.tokens / each);
    let work = per_period * periods;
    let (mut now, mut done, mut sent, mut rejected, mut under_way) = (0, 0, 0, 0, 0);
    let mut flights: Vec<Option<Flight>> = Vec::new();
    let mut events = BinaryHeap::new();
    while done < work {
        now += 5 * MS;
        while let Some(Reverse((at, n, is_arrival))) = events.peek().copied() {
            if at > now {
                break;
            }
            events.pop();
            requests.advance(at);
            tokens.advance(at);
            if is_arrival {
                let flight: &mut Flight = flights[n as usize].as_mut().unwrap();
                if provider.is_none() {
                    under_way -= 1;
                }
                let fits = requests.used() < requests.limit && tokens.used() + COST <= tokens.limit;
                flight.is_rejected = !fits;
                flight.wait = requests.wait(1).max(tokens.wait(COST));
                flight.arrived = at;
                if fits {
                    requests.take(1);
                    tokens.take(COST);
                }
                flight.told = world.report(&requests, &tokens);
                let (least, most) = world.latency;
                let latency = if fits {
                    least + random(most - least)
                } else {
                    1
                };
                events.push(Reverse((at + latency * MS, n, false)));
                continue;
            }
            let flight = flights[n as usize].take().unwrap();
            let (quotas, in_flight) = &mut clients[flight.client];
            *in_flight -= 1;
            if flight.is_rejected {
                rejected += 1;
                let wait = Some(flight.wait);
                quotas.refuse(&flight.ticket, ThrottleReason::Rate, wait, &flight.told, at);
                continue;
            }
            if world.refunds {
                tokens.give_back(flight.arrived, COST - USED);
            }
            quotas.observe(&flight.ticket, &flight.told, at);
            let usage = TokenUsage {
                input: USED,
                ..TokenUsage::default()
            };
            quotas.settle(&flight.ticket, Some(usage), Some(at));
            done += 1;
        }
        let first = random(world.clients as u64) as usize;
        for n in 0..world.clients {
            let n = (n + first) % world.clients;
            let (quotas, in_flight) = &mut clients[n];
            while *in_flight < world.workers {
                if provider.is_none() {
                    requests.advance(now);
                    tokens.advance(now);
                    let fits = requests.used() + under_way < requests.limit
                        && tokens.used() + (under_way + 1) * COST <= tokens.limit;
                    if !fits {
                        break;
                    }
                    under_way += 1;
                }
                let Ok(ticket) = quotas.decide(Tokens::new(COST, 0), Duration::ZERO, now) else {
                    break;
                };
                *in_flight += 1;
                sent += 1;
                flights.push(Some(Flight {
                    ticket,
                    client: n,
                    arrived: 0,
                    told: RateLimits::default(),
                    is_rejected: false,
                    wait: Duration::ZERO,
                }));
                events.push(Reverse((
                    now + random(20 * MS),
                    flights.len() as u64 - 1,
                    true,
                )));
            }
        }
    }
    Outcome {
        elapsed: now as f64,
        rejected: rejected as f64 / sent as f64,
    }
}

/// A provider of OpenAI's shape: 500 requests and 200,000 tokens a minute.
pub(super) const WORLD: World = World {
    is_bucket: true,
    refunds: false,
    rounds: false,
    clients: 1,
    workers: 100,
    requests: 500,
    tokens: 200_000,
    latency: (2_000, 12_000),
};

/// Returns the elapsed time divided by what a client takes that knows the provider's books, and
/// the part of requests that was rejected. The client knows the limits, and whether they are
/// buckets, or nothing.
fn compare(world: World, knows: Option<bool>) -> (f64, f64) {
    let mut provider = Provider::new("p");
    if let Some(is_bucket) = knows {
        provider = shaped("p", is_bucket);
        provider = provider.rpm(world.requests).tpm(world.tokens);
    }
    let ideal = run(world, None, 5);
    let learned = run(world, Some(provider), 5);
    (learned.elapsed / ideal.elapsed, learned.rejected)
}

#[test]
fn one_client_uses_all_that_the_provider_counts() {
    for is_bucket in [true, false] {
        for refunds in [false, true] {
            for rounds in [false, true] {
                let world = World {
                    is_bucket,
                    refunds,
                    rounds,
                    ..WORLD
                };
                let (elapsed, rejected) = compare(world, Some(is_bucket));
                assert!(
                    elapsed < 1.05 && rejected < 0.001,
                    "{world:?}: {elapsed} {rejected}"
                );
                let (elapsed, rejected) = compare(world, None);
                assert!(
                    elapsed < 1.11 && rejected < 0.001,
                    "{world:?}: {elapsed} {rejected}"
                );
            }
        }
    }
}

#[test]
fn a_limit_of_another_shape_is_corrected() {
    for is_bucket in [true, false] {
        let world = World {
            is_bucket,
            refunds: true,
            ..WORLD
        };
        let (elapsed, rejected) = compare(world, Some(!is_bucket));
        assert!(
            elapsed < 1.05 && rejected < 0.001,
            "{world:?}: {elapsed} {rejected}"
        );
    }
}

#[test]
fn clients_that_share_a_bucket_agree_by_its_reports() {
    for refunds in [false, true] {
        let world = World {
            clients: 3,
            refunds,
            ..WORLD
        };
        let (elapsed, rejected) = compare(world, None);
        assert!(
            elapsed < 1.06 && rejected < 0.01,
            "{world:?}: {elapsed} {rejected}"
        );
    }
}

/// The last of a window waits a window longer, since a part of each stays free.
#[test]
fn clients_that_share_a_window_agree_by_its_reports() {
    for refunds in [false, true] {
        let world = World {
            is_bucket: false,
            clients: 3,
            refunds,
            ..WORLD
        };
        let (_, rejected) = compare(world, None);
        assert!(rejected < 0.08, "{world:?}: {rejected}");
    }
}
