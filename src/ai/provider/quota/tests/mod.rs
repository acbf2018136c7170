//! The state against a model that keeps every request and applies the rules literally.

mod reports;
#[cfg(feature = "redis")]
mod shared;
mod simulation;

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::{
    ai::provider::{Accounting, Counting},
    error::Reason,
    http::Reported,
};

const SECOND: u64 = 1_000_000_000;

/// One limit of the model.
struct Rule {
    dimension: Dimension,
    counting: Counting,
    shape: Shape,
    limit: u64,
    period: u64,
}

/// A request of the model: when it started, what it reserved, and when and how it ended.
#[derive(Clone, Copy)]
struct Sent {
    at: u64,
    tokens: Tokens,
    end: Option<(u64, End)>,
}

#[derive(Clone, Copy, PartialEq)]
enum End {
    Used(TokenUsage),
    Unknown,
    Refunded,
}

impl Rule {
    fn cost(&self, tokens: Tokens) -> u64 {
        match self.dimension {
            Dimension::Requests => 1,
            Dimension::Tokens => tokens.input + tokens.output,
            Dimension::InputTokens => tokens.input,
            _ => tokens.output,
        }
    }

    /// Returns the units of a request that count by `now`, and since when. Reserved units count
    /// since now.
    fn counted(&self, sent: &Sent, now: u64) -> Option<(u64, u64)> {
        let cost = self.cost(sent.tokens);
        let end = sent.end.filter(|(at, _)| *at <= now);
        let used = match end {
            Some((_, End::Refunded)) => return None,
            Some((_, End::Used(usage))) => Some(self.cost(Tokens::new(usage.input, usage.output))),
            _ => None,
        };
        let counting = match self.dimension {
            Dimension::Requests => Counting::Admission,
            _ => self.counting,
        };
        match (counting, end) {
            (Counting::Admission, _) => Some((sent.at, cost)),
            (Counting::Settled, _) => Some((sent.at, used.unwrap_or(cost))),
            (Counting::Completion, Some((at, _))) => Some((at, used.unwrap_or(cost))),
            (Counting::Completion, None) => Some((now, cost)),
        }
    }

    /// Whether the window is within the limit if each request counts for `life`.
    fn window_holds(&self, sent: &[Sent], more: u64, now: u64, life: u64) -> bool {
        let counted = sent.iter().filter_map(|sent| self.counted(sent, now));
        let recent = counted.filter(|(at, _)| at + life > now);
        recent.map(|(_, units)| units).sum::<u64>() + more <= self.limit
    }

    /// Returns the level of a bucket, in units times the period. Returned units drain at once,
    /// except if the bucket was empty since they were taken.
    fn bucket_level(&self, sent: &[Sent], now: u64) -> u128 {
        let counts_at_the_end =
            self.counting == Counting::Completion && self.dimension != Dimension::Requests;
        // When, how much, and when it was taken.
        let mut moves: Vec<(u64, i128, u64)> = Vec::new();
        for sent in sent {
            let cost = i128::from(self.cost(sent.tokens));
            let end = sent.end.map_or(now, |(end, _)| end);
            match self.counted(sent, now) {
                None if counts_at_the_end => {}
                None => moves.extend([(sent.at, cost, sent.at), (end, -cost, sent.at)]),
                Some((at, units)) if counts_at_the_end => moves.push((at, units.into(), at)),
                Some((at, units)) => {
                    moves.push((at, cost, at));
                    if i128::from(units) != cost {
                        moves.push((end, i128::from(units) - cost, at));
                    }
                }
            }
        }
        moves.sort_by_key(|(at, units, _)| (*at, *units < 0));
        let (mut level, mut last, mut empty_at) = (0_i128, 0, 0);
        let mut drain = |level: &mut i128, empty_at: &mut u64, to: u64| {
            *level -= i128::from(to - last) * i128::from(self.limit);
            last = to;
            if *level <= 0 {
                (*level, *empty_at) = (0, to);
            }
        };
        for (at, units, since) in moves {
            drain(&mut level, &mut empty_at, at);
            if units >= 0 || since >= empty_at {
                level = (level + units * i128::from(self.period)).max(0);
            }
        }
        drain(&mut level, &mut empty_at, now);
        level as u128
    }

    /// Whether `more` fits; `None` if it depends on the resolution of time.
    fn fits(&self, sent: &[Sent], more: u64, now: u64) -> Option<bool> {
        match self.shape {
            Shape::Window => {
                let longest = 257 * self.period.div_ceil(256);
                if self.window_holds(sent, more, now, longest) {
                    Some(true)
                } else if self.window_holds(sent, more, now, self.period) {
                    None
                } else {
                    Some(false)
                }
            }
            Shape::Bucket => {
                let level =
                    self.bucket_level(sent, now) + u128::from(more) * u128::from(self.period);
                Some(level <= u128::from(self.limit) * u128::from(self.period))
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Send {
        input: u64,
        output: u64,
    },
    /// Ends a request in flight that used a part of its reservation, in per mille.
    End {
        which: usize,
        used: u64,
    },
    Lose {
        which: usize,
    },
    Refund {
        which: usize,
    },
}

fn shaped(name: &'static str, is_bucket: bool) -> Provider {
    let provider = Provider::new(name);
    if is_bucket {
        provider.bucket()
    } else {
        provider.window()
    }
}

fn steps() -> impl Strategy<Value = Vec<(u64, Step)>> {
    let step = prop_oneof![
        4 => (0..40_u64, 0..60_u64).prop_map(|(input, output)| Step::Send { input, output }),
        3 => (any::<usize>(), 0..=1_000_u64).prop_map(|(which, used)| Step::End { which, used }),
        1 => any::<usize>().prop_map(|which| Step::Lose { which }),
        1 => any::<usize>().prop_map(|which| Step::Refund { which }),
    ];
    prop::collection::vec((0..SECOND / 3, step), 1..40)
}

fn quota_set() -> impl Strategy<Value = (bool, [Option<u64>; 4], Option<u64>, Counting)> {
    (
        any::<bool>(),
        [
            prop::option::of(1..12_u64),
            prop::option::of(100..400_u64),
            prop::option::of(60..200_u64),
            prop::option::of(60..200_u64),
        ],
        prop::option::of(1..6_u64),
        prop_oneof![
            Just(Counting::Admission),
            Just(Counting::Settled),
            Just(Counting::Completion)
        ],
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    /// A request is admitted exactly if it fits into every limit; all limits are taken from or
    /// none; in the end nothing is missing.
    #[test]
    fn admission_agrees_with_a_model(
        (is_bucket, limits, concurrent, counting) in quota_set(),
        steps in steps(),
    ) {
        let shape = if is_bucket { Shape::Bucket } else { Shape::Window };
        let dimensions = [
            Dimension::Requests, Dimension::Tokens, Dimension::InputTokens, Dimension::OutputTokens,
        ];
        let mut provider = shaped("model", is_bucket).counting(Accounting::new(counting));
        let mut rules = Vec::new();
        for (dimension, limit) in dimensions.into_iter().zip(limits) {
            let Some(limit) = limit else { continue };
            provider = provider.limit(dimension, Quota::per_second(limit));
            rules.push(Rule { dimension, counting, shape, limit, period: SECOND });
        }
        if let Some(most) = concurrent {
            provider = provider.concurrent(most);
        }
        let mut quotas = Quotas::new(&provider, 1, 0);
        let mut sent: Vec<Sent> = Vec::new();
        let mut under_way: Vec<(usize, QuotaTicket)> = Vec::new();
        let mut now = 0;
        for (pause, step) in steps {
            now += pause;
            match step {
                Step::Send { input, output } => {
                    let tokens = Tokens::new(input, output);
                    let fits: Vec<_> =
                        rules.iter().map(|rule| rule.fits(&sent, rule.cost(tokens), now)).collect();
                    let is_free = concurrent.is_none_or(|most| (under_way.len() as u64) < most);
                    match quotas.decide(tokens, Duration::ZERO, now) {
                        Ok(ticket) => {
                            prop_assert!(is_free && !fits.contains(&Some(false)), "{fits:?}");
                            under_way.push((sent.len(), ticket));
                            sent.push(Sent { at: now, tokens, end: None });
                        }
                        Err(rejected) => match rejected.reason() {
                            Reason::ExceedsCapacity { cost, capacity } => {
                                let LimitKind::Quota(dimension) = rejected.limit() else {
                                    unreachable!("{rejected}")
                                };
                                let rule =
                                    rules.iter().find(|rule| rule.dimension == dimension).unwrap();
                                prop_assert_eq!(cost, rule.cost(tokens));
                                prop_assert_eq!(capacity, rule.limit);
                                prop_assert!(cost > capacity);
                            }
                            _ => {
                                let must_fit = fits.iter().all(|fits| *fits == Some(true));
                                prop_assert!(!is_free || !must_fit);
                                // If nothing else happens there is room after that wait.
                                if let Some(wait) = rejected.retry_after() {
                                    let then = now + nanos(wait);
                                    for rule in &rules {
                                        let fits = rule.fits(&sent, rule.cost(tokens), then);
                                        prop_assert_ne!(fits, Some(false));
                                    }
                                }
                            }
                        },
                    }
                }
                _ if under_way.is_empty() => {}
                Step::End { which, used } => {
                    let (n, ticket) = under_way.swap_remove(which % under_way.len());
                    let Tokens { input, output } = sent[n].tokens;
                    let usage = TokenUsage {
                        input: input * used / 1_000,
                        output: output * used / 1_000,
                        ..TokenUsage::default()
                    };
                    quotas.settle(&ticket, Some(usage), Some(now));
                    sent[n].end = Some((now, End::Used(usage)));
                }
                Step::Lose { which } => {
                    let (n, ticket) = under_way.swap_remove(which % under_way.len());
                    quotas.settle(&ticket, None, Some(now));
                    sent[n].end = Some((now, End::Unknown));
                }
                Step::Refund { which } => {
                    let (n, ticket) = under_way.swap_remove(which % under_way.len());
                    quotas.refund(&ticket);
                    sent[n].end = Some((now, End::Refunded));
                }
            }
            prop_assert_eq!(quotas.flight.count, under_way.len() as u64);
        }
        for (_, ticket) in under_way {
            quotas.settle(&ticket, None, Some(now));
        }
        let usage = quotas.usage(now + 3 * SECOND);
        prop_assert_eq!(usage.in_flight, 0);
        for limit in usage.limits() {
            prop_assert_eq!((limit.used, limit.reserved), (0, 0));
        }
    }

    /// Whatever responses report, nothing overflows, and there is room again later.
    #[test]
    fn invalid_reports_do_no_lasting_harm(
        (is_bucket, limits, _, counting) in quota_set(),
        lies in prop::collection::vec(
            (any::<u64>(), any::<u64>(), any::<u64>(), any::<Option<u64>>()),
            1..20,
        ),
    ) {
        let mut provider = shaped("liar", is_bucket).counting(Accounting::new(counting));
        let [requests, tokens, ..] = limits;
        for (dimension, limit) in [(Dimension::Requests, requests), (Dimension::Tokens, tokens)] {
            if let Some(limit) = limit {
                provider = provider.limit(dimension, Quota::per_second(limit));
            }
        }
        let mut quotas = Quotas::new(&provider, 1, 0);
        quotas.learn(true, 0);
        let mut now = 0;
        for (input, output, left, limit) in lies {
            now += SECOND / 10;
            let taken = quotas.decide(Tokens::new(1, 1), Duration::ZERO, now);
            let Ok(ticket) = taken else { continue };
            let mut told = RateLimits::default();
            for dimension in [Dimension::Requests, Dimension::Tokens, Dimension::InputTokens] {
                told.push(Reported {
                    dimension,
                    period: None,
                    limit,
                    remaining: Some(left),
                    reset: Some(Duration::from_nanos(left)),
                });
            }
            quotas.observe(&ticket, &told, now);
            let usage = TokenUsage { input, output, ..TokenUsage::default() };
            quotas.settle(&ticket, Some(usage), Some(now));
        }
        let usage = quotas.usage(now);
        for limit in usage.limits() {
            let most = 2 * limit.limit.max(limit.used.min(400));
            prop_assert!(limit.used <= most || limit.period.is_some());
        }
        // A learned limit counts over a minute.
        let later = now + 200 * SECOND;
        prop_assert!(quotas.decide(Tokens::new(0, 0), Duration::ZERO, later).is_ok());
    }
}

#[test]
fn drained_units_are_not_refunded() {
    let provider = Provider::new("p")
        .bucket()
        .limit(Dimension::Requests, Quota::per_second(10));
    let mut quotas = Quotas::new(&provider, 1, 0);
    let admit =
        |quotas: &mut Quotas, now| quotas.decide(Tokens::default(), Duration::ZERO, now).ok();
    let early: Vec<_> = (0..10).filter_map(|_| admit(&mut quotas, 0)).collect();
    // A second later all of that has drained, and new requests fill it again.
    let later: Vec<_> = (0..20).filter_map(|_| admit(&mut quotas, SECOND)).collect();
    assert_eq!((early.len(), later.len()), (10, 10));
    for ticket in &early {
        quotas.refund(ticket);
    }
    assert!(admit(&mut quotas, SECOND).is_none());
    quotas.refund(&later[0]);
    assert!(admit(&mut quotas, SECOND).is_some());
}

#[test]
fn late_rejection_at_most_halves_the_limit() {
    let mut quotas = Quotas::new(&Provider::new("p").concurrent(50), 1, 0);
    let mut tickets: Vec<_> = (0..50)
        .filter_map(|_| quotas.decide(Tokens::default(), Duration::ZERO, 0).ok())
        .collect();
    let slow = tickets.pop().unwrap();
    for ticket in &tickets {
        quotas.settle(ticket, None, None);
    }
    quotas.refuse(
        &slow,
        ThrottleReason::Concurrency,
        None,
        &RateLimits::default(),
        SECOND,
    );
    assert_eq!(quotas.flight.limit, Some(25));
    // With nothing of this client in flight, others have the slots.
    assert!(quotas.pause.remaining(SECOND) > 0);
}
